"""Choose a model's score scale: ``python -m domains.docking.score_scale --weights FILE --data DIR``.

Redocks a validation split with the probability-flow ODE at several score scale values c (samples of p^c), next to
DiffDock's SDE with the same network, and prints success rates with 95% bootstrap intervals. With --store, the value
with the most poses within 2 Å is written into the weights file, with the table that it was chosen from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import track
from rich.table import Table

from domains.bootstrap import bootstrap_interval
from domains.docking.networks.weights import DockingModel, load_weights, store_score_scale
from domains.docking.poses.diffdock_sampler import sample_sde
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.metrics import success
from domains.docking.poses.pose import Poses
from domains.docking.structures.complexes import Complex, load_folder, load_posebusters
from domains.docking.training.data import SPLITS, names_in, split
from domains.docking.training.evaluate import Redocking, Sampler, ode_sampler, redock
from domains.errors import InputError, InputProblem


@dataclass(frozen=True)
class ScoreScaleConfig:
    """Options of the comparison."""

    weights: Path
    """weights.safetensors of domains.docking.train"""
    data: Path | None = None
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf; not needed for --split embedded"""
    split: Literal["ligands", "targets", "embedded"] = "ligands"
    """held-out ligands of known targets, unseen targets, or (in-sample) the four of the posebusters package"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    validation_targets: Path = SPLITS / "validation_targets.txt"
    values: tuple[float, ...] = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
    poses: int = 2
    """poses a complex"""
    steps: int = 20
    """steps of the ODE and of the SDE"""
    solver: str = "dpmpp_2m"
    grid: str = "edm"
    limit: int | None = None
    """use that many complexes of the split, drawn with --seed"""
    sde: bool = True
    """also run DiffDock's SDE"""
    store: bool = False
    """write the best value into the weights file; needs --split ligands"""
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the table; rates are fractions of poses."""

    sampler: str
    score_scale: float
    success_2A: float
    success_2A_interval: tuple[float, float]
    success_5A: float
    success_5A_interval: tuple[float, float]
    median_rmsd: float
    failed: int
    ms_per_pose: float


def summarise(name: str, score_scale: float, result: Redocking, seed: int) -> Row:
    """A pose that is not finite counts as a failure in every figure."""
    two, five = (bootstrap_interval(list(success(result.rmsd, limit)), "mean", seed) for limit in (2.0, 5.0))
    return Row(
        sampler=name,
        score_scale=score_scale,
        success_2A=two.estimate,
        success_2A_interval=(two.low, two.high),
        success_5A=five.estimate,
        success_5A_interval=(five.low, five.high),
        median_rmsd=float(np.median(np.where(np.isfinite(result.rmsd), result.rmsd, np.inf))),
        failed=int((~np.isfinite(result.rmsd)).sum()),
        ms_per_pose=1000 * result.seconds_per_pose,
    )


def validation_complexes(config: ScoreScaleConfig) -> list[Complex]:
    """The complexes of the chosen split, at most `config.limit` of them.

    Raises:
        InputError: if the data folder is missing, or holds none of them.
    """
    if config.split == "embedded":
        chosen = load_posebusters()[0]
    elif config.data is None:
        raise _mistake("--data", f"not given, and --split {config.split} needs it", "give the training data's folder")
    else:
        complexes, problems = load_folder(config.data)
        if not complexes:
            raise InputError(problems[0])
        parts = split(complexes, names_in(config.validation_ligands), names_in(config.validation_targets))
        chosen = list(parts.ligands if config.split == "ligands" else parts.targets)
        if not chosen:
            raise _mistake(
                str(config.data),
                f"no complex of the split '{config.split}' in it",
                "give the training data and the lists of the training run",
            )
    if config.limit is None or config.limit >= len(chosen):
        return chosen
    kept = np.random.default_rng(config.seed).permutation(len(chosen))[: config.limit]
    return [chosen[i] for i in sorted(kept)]


def compare(model: DockingModel, complexes: Sequence[Complex], config: ScoreScaleConfig, console: Console) -> list[Row]:
    """The SDE first, then the ODE at each score scale, all from the same start poses."""

    def sde(flow: DockingFlow, start: Poses, generator: torch.Generator) -> Poses:
        return sample_sde(flow, start, config.steps, generator)

    ode = ode_sampler(config.solver, config.steps, config.grid)
    runs: list[tuple[str, float, Sampler]] = [("diffdock_sde", 1.0, sde)] if config.sde else []
    runs += [(f"{config.solver} {config.grid}", value, ode) for value in config.values]
    return [
        summarise(name, value, redock(model, complexes, sampler, config.poses, config.seed, value), config.seed)
        for name, value, sampler in track(runs, description="redocking", console=console, transient=True)
    ]


def print_table(rows: Sequence[Row], title: str, console: Console) -> None:
    """One line a sampler; percentages of all poses."""
    table = Table(title=title, box=SIMPLE)
    for heading in ("sampler", "c", "< 2 Å", "95%", "< 5 Å", "95%", "median", "failed", "ms a pose"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right", no_wrap=heading == "sampler")
    for row in rows:
        rates = []
        for rate, (low, high) in (
            (row.success_2A, row.success_2A_interval),
            (row.success_5A, row.success_5A_interval),
        ):
            rates += [f"{rate:.1%}", f"{100 * low:.0f}-{100 * high:.0f}"]
        figures = (f"{row.median_rmsd:.2f}", str(row.failed), f"{row.ms_per_pose:.0f}")
        table.add_row(row.sampler, f"{row.score_scale:g}", *rates, *figures)
    console.print(table)


def main(config: ScoreScaleConfig) -> None:
    """Compare, print, and store the best value if asked to.

    Raises:
        InputError: for what the user can mend.
    """
    console = Console()
    torch.set_num_threads(config.threads)
    _check(config)
    model = load_weights(config.weights)
    complexes = validation_complexes(config)
    rows = compare(model, complexes, config, console)
    name = "embedded (in-sample)" if config.split == "embedded" else f"held-out {config.split}"
    size = f"{len(complexes)} complexes x {config.poses} poses, {config.steps} steps, seed {config.seed}"
    print_table(rows, f"{name}: {size}", console)
    best = max(
        (row for row in rows if row.sampler != "diffdock_sde"), key=lambda row: (row.success_2A, -row.median_rmsd)
    )
    if config.store:
        chosen = {
            "split": config.split,
            "complexes": len(complexes),
            **_settings(config),
            "rows": [asdict(r) for r in rows],
        }
        store_score_scale(config.weights, best.score_scale, chosen)
        console.print(f"stored c = {best.score_scale:g} in {config.weights}", highlight=False)
    else:
        console.print(
            f"best c = {best.score_scale:g} (the file says {model.score_scale:g}; --store writes it)", highlight=False
        )


def _settings(config: ScoreScaleConfig) -> Mapping[str, object]:
    names = ("values", "poses", "steps", "solver", "grid", "limit", "seed")
    return {name: getattr(config, name) for name in names}


def _check(config: ScoreScaleConfig) -> None:
    if not config.values or min(config.values) <= 0:
        raise _mistake("--values", f"got {config.values}", "give at least one positive number")
    for name in ("poses", "steps", "limit"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise _mistake(f"--{name}", f"got {value}", "give a positive number")
    try:
        ode_sampler(config.solver, config.steps, config.grid)
    except ValueError as error:
        raise _mistake("--solver or --grid", str(error), "choose one of them") from error
    if config.store and config.split != "ligands":
        raise _mistake("--store", f"the split is '{config.split}'", "score scale is chosen on --split ligands")


def _mistake(option: str, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(option, "", message, remedy))


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    try:
        main(tyro.cli(ScoreScaleConfig, description=__doc__, args=arguments))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    cli()
