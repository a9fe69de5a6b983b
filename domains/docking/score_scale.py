"""Choose a model's score scale: ``python -m domains.docking.score_scale --weights FILE --data DIR``.

Redocks a validation split with the probability-flow ODE at several score scales c, next to the plain reverse SDE with
the same network at c = 1 and at the best c. The score is multiplied by c, which seeks modes: as c rises more poses end
near the bound one, and fewer of them differ, so that the table counts both. It is not sampling of p^c. Prints success
rates with 95% bootstrap intervals, how many of the poses are distinct, and the best of N. With --store, a value is
written into the weights file, with the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console

from domains.docking.engine import dock_groups, make_groups
from domains.docking.networks.weights import DockingModel, store_score_scale
from domains.docking.samplers import Sampler, hand_made_sampler, plain_sde
from domains.docking.structures.complexes import Complex
from domains.docking.validation import (
    Row,
    ValidationOptions,
    alike,
    begin,
    best_of,
    check_store,
    print_table,
    run_choice,
    split_name,
    summarise,
)
from domains.options import check_numbers, mistake
from domains.progress import WorkProgress


@dataclass(frozen=True)
class ScoreScaleConfig(ValidationOptions):
    """Options of the comparison."""

    values: tuple[float, ...] = (1.0, 3.0, 5.0, 7.0, 10.0, 14.0, 20.0, 30.0)
    """score scales; they should go on until success falls"""
    poses: int = 4
    """poses a complex"""
    steps: int = 20
    """network evaluations a pose, of the ODE and of the SDE"""
    solver: str = "dpmpp_2m"
    grid: str = "edm"
    sde: bool = True
    """also run the plain reverse SDE"""
    store: float | None = None
    """one of the values, to be written into the weights file; needs --split ligands"""


def compare(model: DockingModel, complexes: Sequence[Complex], config: ScoreScaleConfig, console: Console) -> list[Row]:
    """The ODE at each score scale, then the SDE at 1 and at the best one, all from the same starts."""
    groups, clusters = make_groups(model, complexes, config.poses, config.seed), alike(config)
    work = float(config.steps * config.poses * len(complexes))
    stages = [*(f"ODE, c = {c:g}" for c in config.values), *(["SDE, c = 1", "SDE, best c"] if config.sde else [])]
    with WorkProgress(console, dict.fromkeys(stages, work)) as progress:

        def row(stage: str, name: str, sampler: Sampler) -> Row:
            with progress.stage(stage):
                docked = dock_groups(groups, sampler, on_progress=progress.counter())
                return summarise(name, docked, config.seed, clusters)

        ode = [
            row(stage, f"{config.solver} {config.grid}", hand_made_sampler(config.grid, config.solver, config.steps, c))
            for stage, c in zip(stages, config.values, strict=False)
        ]
        scales = sorted({1.0, best_of(ode).score_scale})
        sde = zip(stages[len(ode) :], scales, strict=False)
        return [*ode, *(row(stage, "plain_sde", plain_sde(c, config.steps)) for stage, c in sde)]


def main(config: ScoreScaleConfig) -> None:
    """Compare, print, and store a value if asked to.

    Raises:
        InputError: for what the user can mend.
    """
    _check(config)
    own = begin(config)
    model, console = own.model, own.out
    rows = compare(model, own.complexes, config, own.log)
    size = f"{len(own.complexes)} complexes x {config.poses} poses, {config.steps} steps, seed {config.seed}"
    print_table(rows, config.poses, f"{split_name(config)}: {size}", console)
    best = best_of([row for row in rows if row.sampler != "plain_sde"])
    console.print(f"most within 2 Å at c = {best.score_scale:g}; the file says {model.score_scale:g}", highlight=False)
    if config.store is not None:
        content = {"split": config.split, "complexes": len(own.complexes), "chosen": config.store, **_settings(config)}
        store_score_scale(config.weights, config.store, {**content, "rows": [asdict(row) for row in rows]})
        console.print(f"stored c = {config.store:g} in {config.weights}", highlight=False)


def _settings(config: ScoreScaleConfig) -> Mapping[str, object]:
    names = ("values", "poses", "steps", "solver", "grid", "pocket", "conformer", "limit", "seed")
    return {name: getattr(config, name) for name in names}


def _check(config: ScoreScaleConfig) -> None:
    if not config.values or min(config.values) <= 0:
        raise mistake("values", f"got {config.values}", "give at least one positive number")
    check_numbers(config, {"poses": 1, "steps": 1})
    try:
        hand_made_sampler(config.grid, config.solver, config.steps)
    except ValueError as error:
        raise mistake("solver, --grid or --steps", str(error), "choose others") from error
    if config.store is not None and config.store not in config.values:
        raise mistake("store", f"got {config.store:g}", "give one of --values")
    if config.store is not None:
        check_store(config, "the score scale is")


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run_choice(ScoreScaleConfig, main, __doc__, arguments)


if __name__ == "__main__":
    cli()
