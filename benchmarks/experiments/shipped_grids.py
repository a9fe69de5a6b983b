"""Learned grids that lie beside weights against those made by hand: ``python -m benchmarks.experiments.shipped_grids``.

Each grid docks complexes of the validation lists from the same starts: those of unseen clusters in the setting for
claims (a pocket around a point, fresh conformers) and as they lie in their files, and held-out ligands of known
targets. Where no learned grid is used at a number of evaluations, because none is there or what was learned lost the
fit's own final test, the table says so. Poses are not ranked. Writes to --out: results.json; a study that was
interrupted goes on. With --page, the table is put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import bullets, check_page
from benchmarks.experiments import study
from benchmarks.experiments.docking_sets import KNOWN, UNSEEN, by_cluster, validation_set
from benchmarks.experiments.shipped_grid_rows import LEARNED, NONE, Row, Setting, row_of, table
from benchmarks.experiments.shipped_samplers import learned_samplers, verdict
from domains import docking
from domains.bootstrap import bootstrap_interval
from domains.docking.engine import Group, dock_groups, make_groups
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import success
from domains.docking.samplers import HAND_MADE_GRID, Sampler, hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex
from domains.docking.training.clusters import Clusters, read_clusters
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import get_solver
from ld3.grids import HAND_MADE

BLOCK: Final = "shipped grids"

_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy")


SETTINGS: Final = (
    Setting(UNSEEN, "point-of-ligand", "rdkit"),  # the setting for claims
    Setting(UNSEEN, "ligand", "input"),
    Setting(KNOWN, "ligand", "input"),
)


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    complexes: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf, together those of the two validation lists"""
    weights: Path
    """general, demo, or a file of domains.docking.train, with its grids beside it"""
    nfe: tuple[int, ...]
    """evaluations a pose"""
    long_nfe: int
    """evaluations a pose of one more run by hand, to compare with"""
    by_hand: tuple[str, ...]
    """hand-made grids, the usual one among them"""
    samples: int
    """poses a complex"""
    known: int | None
    """held-out ligands, at most; one of each cluster before a second one of any. null = all"""
    unseen: int | None
    """complexes of unseen clusters, likewise"""
    seed: int
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train; intervals are then over clusters"""
    page: Path | None = None
    """Markdown page with the markers of the table"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("shipped_grids", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    model = docking.load_model(options.weights)
    clusters = Clusters() if options.clusters is None else read_clusters(options.clusters)
    learned = learned_samplers(model, options.nfe)
    verdicts = {nfe: verdict(model, nfe) for nfe in options.nfe}
    limits = {KNOWN: options.known, UNSEEN: options.unseen}
    sets = {
        setting: validation_set(
            options.complexes,
            setting.of,
            limits[setting.of],
            clusters,
            model,
            pocket=setting.pocket,
            conformer=setting.conformer,
            seed=options.seed,
            log=log,
        )
        for setting in SETTINGS
    }
    store, began = Store(options.out / "cache"), time.process_time()
    evaluations = options.long_nfe + sum(len(options.by_hand) * nfe for nfe in options.nfe) + sum(learned.keys())
    plan = {str(setting): float(evaluations * options.samples * len(part)) for setting, part in sets.items()}
    rows: list[Row] = []

    def write(*, complete: bool) -> str:
        seconds = time.process_time() - began
        content: dict[str, Any] = {
            "complexes": {str(setting): [c.name for c in part] for setting, part in sets.items()},
            "grids": {str(nfe): found for nfe, found in verdicts.items()},
            "rows": [asdict(row) for row in rows],
        }
        study.write_results(
            options.out, "ld3.shipped_grids", options, _PACKAGES, complete=complete, cpu_seconds=seconds, **content
        )
        return block(options, rows, verdicts, seconds)

    with WorkProgress(log, plan) as bar:
        for setting, part in sets.items():
            with bar.stage(str(setting)):
                for row in _rows(options, model, setting, part, learned, clusters, store, bar):
                    rows.append(row)
                    write(complete=False)
    study.publish(options.page, BLOCK, write(complete=True))
    return 0


def _check(options: Options) -> None:
    for name, value in (("nfe", options.nfe), ("long_nfe", (options.long_nfe,))):
        check_nfe(name, value, get_solver(SOLVER))
    study.check_each_once(by_hand=options.by_hand, nfe=options.nfe)
    if HAND_MADE_GRID not in options.by_hand or not HAND_MADE.keys() >= set(options.by_hand):
        message = f"got {' '.join(options.by_hand)}"
        raise mistake("by_hand", message, f"give {HAND_MADE_GRID}, and what else you like of {', '.join(HAND_MADE)}")
    if not options.complexes:
        raise mistake("complexes", "got none", "give at least one folder")
    limits = {name: (value, 1) for name in ("known", "unseen") if (value := getattr(options, name)) is not None}
    study.check_numbers(samples=(options.samples, 1), seed=(options.seed, 0), **limits)
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def _rows(
    options: Options,
    model: DockingModel,
    setting: Setting,
    complexes: Sequence[Complex],
    learned: Mapping[int, Sampler],
    clusters: Clusters,
    store: Store,
    bar: WorkProgress,
) -> Iterator[Row]:
    """One for each number of evaluations, as they come."""
    groups = make_groups(model, complexes, options.samples, options.seed)

    def near(sampler: Sampler) -> list[NDArray[np.float64]]:
        return _near(groups, sampler, clusters, store, bar)

    long = bootstrap_interval(near(hand_made_sampler(HAND_MADE_GRID, SOLVER, options.long_nfe)), "mean", seed=0)
    for nfe in options.nfe:
        samplers = {LEARNED: learned[nfe]} if nfe in learned else {}
        samplers |= {name: hand_made_sampler(name, SOLVER, nfe) for name in options.by_hand}
        yield row_of(setting, nfe, len(complexes), {name: near(own) for name, own in samplers.items()}, long)


def _near(
    groups: Sequence[Group], sampler: Sampler, clusters: Clusters, store: Store, bar: WorkProgress
) -> list[NDArray[np.float64]]:
    """Which poses are within 2 Å, one array a cluster."""
    rmsd = dock_groups(groups, sampler, store, bar.counter()).rmsd()
    return by_cluster({name: success(own, 2.0) for name, own in rmsd.items()}, clusters)


def block(options: Options, rows: Sequence[Row], verdicts: Mapping[int, str], seconds: float) -> str:
    """Origin, table, and what the fits' own final tests say, in Markdown."""
    drawn = "proteins" if options.clusters is None else "clusters"
    sizes = dict.fromkeys((row.of, row.complexes, row.clusters, row.poses) for row in rows)
    counts = "; ".join(f"{of}: {n} complexes of {k} {drawn}, {poses} poses" for of, n, k, poses in sizes)
    origin = (
        f"{study.made_by('shipped_grids', options)}. Weights {options.weights.stem}, solver {SOLVER}. {counts}, with "
        f"the same starts for every grid. Poses within 2 Å in %, not ranked, with 95% intervals over {drawn}; "
        "differences are paired, in points. The best grid by hand is the best on these very poses, which favours it a "
        "little. "
        f"'{NONE}': docking takes no learned grid there, for the reason below the table. "
        f"{seconds / 60:.0f} CPU minutes in this call."
    )
    tests = bullets([f"{nfe} evaluations: {found}" for nfe, found in verdicts.items()])
    return "\n\n".join([origin, table(rows, options.long_nfe).markdown(), tests])


if __name__ == "__main__":
    sys.exit(main())
