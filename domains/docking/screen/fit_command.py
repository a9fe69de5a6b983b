"""`ld3 fit docking`: a grid for one receptor and a library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from domains.docking.networks.shipped import GENERAL

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Fit:
    """Learn a grid for one receptor and a sample of a library, and say whether it pays."""

    receptor: Path
    """PDB or mmCIF file"""
    ligands: Path
    """a library, as ld3 screen reads it"""
    pocket: str
    """as for ld3 screen"""
    out: Path
    """folder for grid.json (for ld3 screen --grid) and fit.json; a fit that was interrupted goes on"""
    nfe: int = 5
    """network evaluations a pose"""
    sample: int = 32
    """ligands, drawn at random, that the fit may see"""
    others: int = 16
    """further ligands, to see whether the grid carries over"""
    poses: int = 400
    """teacher poses of the fit"""
    test_poses: int = 8
    """poses a ligand that grids are compared on"""
    seed: int = 0
    """of all random numbers"""
    weights: Path = GENERAL
    """general or demo, which come with the toolkit, or a file of domains.docking.train"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""

    def run(self) -> int:
        """Fit; the exit status."""
        from rich.console import Console  # with the networks it takes seconds to import: not for `ld3 --help`

        from domains.exits import run_command

        log = Console(stderr=True, highlight=False, soft_wrap=True)
        return run_command(partial(_fit, self, log), log, "fit with fewer --poses", self.out, (ValueError,))


def _fit(options: Fit, log: Console) -> int:
    import json
    from contextlib import ExitStack
    from dataclasses import asdict

    from domains.docking.networks.weights import load_model
    from domains.docking.samplers import HAND_MADE_GRID, usual_sampler
    from domains.docking.screen.library import Library
    from domains.docking.screen.receptor import read_receptor
    from domains.docking.screen.receptor_fit import draw_ligands, fit_receptor, plan
    from domains.folder_lock import locked
    from domains.options import check_numbers, mistake
    from domains.progress import WorkProgress

    check_numbers(options, dict.fromkeys(("nfe", "sample", "others", "test_poses"), 1))
    receptor = read_receptor(options.receptor, options.pocket)
    model = load_model(options.weights, options.device)
    path = usual_sampler(model, options.nfe)[1]
    usual = path.name if path else f"'{HAND_MADE_GRID}', made by hand,"
    with locked(options.out):
        drawn = draw_ligands(Library(options.ligands), receptor, options.sample + options.others, options.seed)
        chosen, others = drawn[: options.sample], drawn[options.sample :]
        if not others:
            raise mistake("sample", f"all {len(drawn)} ligands of the library are in it", "give a smaller one")
        work = plan(options.nfe, options.poses, options.test_poses, len(chosen), len(others))
        with WorkProgress(log, work) as bar, ExitStack() as at_work:

            def stage(name: str) -> Callable[[int, int], None]:
                at_work.close()
                at_work.enter_context(bar.stage(name))
                return bar.follow()

            fit, found = fit_receptor(
                model,
                chosen,
                others,
                options.nfe,
                options.poses,
                options.test_poses,
                options.seed,
                options.out / "cache",
                stage,
            )
        fit.save(options.out / "grid.json")
        content = {
            "schema": "ld3.docking.receptor_fit",
            "config": json.loads(json.dumps(vars(options), default=str)),
            "seconds_of_the_fit": fit.seconds,
            "learned": fit.learned,
            "compared_with": usual,
            "comparisons": {name: asdict(comparison) for name, comparison in found.items()},
        }
        (options.out / "fit.json").write_text(json.dumps(content, indent=2, allow_nan=False))
    came_back = "the learned grid" if fit.learned else "the best grid made by hand, which the learned one did not beat"
    print(f"{options.out / 'grid.json'}: {came_back}; {fit.seconds:.0f} s without the teacher's runs")
    for name, c in found.items():
        print(
            f"{name} ({c.ligands} x {c.poses} poses): within 2 Å of the teacher's pose {c.fitted[0]:.0%}, "
            f"{usual} {c.usual[0]:.0%}; difference {c.gain[0]:+.1%} ({c.gain[1]:+.1%} to {c.gain[2]:+.1%})"
        )
    return 0
