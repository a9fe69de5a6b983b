"""Choose the temperatures of DiffDock's sampler for a model: ``python -m domains.docking.temperatures --weights FILE``.

The low-temperature SDE has three numbers a factor, which DiffDock-L's authors chose for their weights. Here they are
chosen for others on a validation split: the published ones, the plain SDE and random draws dock it once, and those that
did best dock it again from other starts, which is the table that decides. With --store, the winner is written into the
weights file, with the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

import numpy as np
from rich.console import Console

from domains.docking.engine import dock_groups, make_groups
from domains.docking.networks.weights import DockingModel, store_low_temperature
from domains.docking.poses.diffusion import FACTORS
from domains.docking.poses.low_temperature_sde import PUBLISHED, LowTemperature, Temperature
from domains.docking.samplers import diffdock_low_temperature_sde
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

_COLDEST: Final = 8.0


@dataclass(frozen=True)
class TemperatureConfig(ValidationOptions):
    """Options of the search."""

    draws: int = 18
    """random temperatures that are tried beside the published ones and the plain SDE"""
    poses: int = 1
    """poses a complex in the first round"""
    finalists: int = 4
    """of the draws, that are docked again"""
    final_poses: int = 4
    """poses a complex in the second round"""
    steps: int = PUBLISHED.steps
    run: int = PUBLISHED.run
    """of the steps, as published; the last one that is run goes to the end"""
    store: bool = False
    """write the best of the second round into the weights file; needs --split ligands"""


def candidates(config: TemperatureConfig) -> dict[str, LowTemperature]:
    """Name -> settings: the plain SDE, the published temperatures, and draws with T log-uniform from 1 to 8, ψ uniform
    up to 1 and σ_data from 0.3 to 1, of each factor.
    """
    rng = np.random.default_rng([config.seed, 7])
    plain = dict.fromkeys(FACTORS, Temperature(1.0, 0.0, 0.5))
    found = {"plain SDE": plain, "published": PUBLISHED.temperatures}
    for i in range(config.draws):
        found[f"draw {i + 1}"] = {
            factor: Temperature(
                float(np.exp(rng.uniform(0, np.log(_COLDEST)))), float(rng.uniform(0, 1)), float(rng.uniform(0.3, 1))
            )
            for factor in FACTORS
        }
    return {name: LowTemperature(temperatures, config.steps, config.run) for name, temperatures in found.items()}


def search(
    model: DockingModel, complexes: Sequence[Complex], config: TemperatureConfig, console: Console
) -> tuple[dict[str, LowTemperature], list[Row]]:
    """The settings of the second round and its rows, in the same order; the plain SDE and the published ones first."""
    tried, clusters = candidates(config), alike(config)
    finalists = min(config.finalists, config.draws)
    per_pose = float(config.run * len(complexes))
    plan = {"first round": len(tried) * config.poses * per_pose}
    plan |= {"second round": (2 + finalists) * config.final_poses * per_pose}
    with WorkProgress(console, plan) as progress:

        def rows(stage: str, settings: Mapping[str, LowTemperature], poses: int, seed: int) -> list[Row]:
            groups = make_groups(model, complexes, poses, seed)
            with progress.stage(stage):
                found = []
                for name, own in settings.items():
                    sampler = diffdock_low_temperature_sde(replace(model, low_temperature=own))
                    docked = dock_groups(groups, sampler, on_progress=progress.counter())
                    found.append(summarise(name, docked, config.seed, clusters))
                return found

        first = rows("first round", tried, config.poses, config.seed)
        drawn = sorted(first[2:], key=lambda row: (-row.success_2A, row.median_rmsd))[:finalists]
        kept = {name: tried[name] for name in ("plain SDE", "published", *(row.sampler for row in drawn))}
        return kept, rows("second round", kept, config.final_poses, config.seed + 1)


def main(config: TemperatureConfig) -> None:
    """Search, print, and store the best if asked to.

    Raises:
        InputError: for what the user can mend.
    """
    _check(config)
    own = begin(config)
    console = own.out
    kept, rows = search(own.model, own.complexes, config, own.log)
    size = f"{len(own.complexes)} complexes x {config.final_poses} poses, {config.run} of {config.steps} steps"
    print_table(
        rows, config.final_poses, f"second round, {split_name(config)}: {size}, seed {config.seed + 1}", console
    )
    best = best_of(rows)
    console.print(f"most within 2 Å: {best.sampler}", highlight=False)
    for factor, chosen in kept[best.sampler].temperatures.items():
        console.print(f"  {factor}: T {chosen.sampling:.3f}, psi {chosen.psi:.3f}, sigma_data {chosen.sigma_data:.3f}")
    if config.store:
        settings = {
            key: getattr(config, key)
            for key in ("draws", "poses", "finalists", "final_poses", "pocket", "conformer", "limit", "seed")
        }
        record = {"split": config.split, "complexes": len(own.complexes), "chosen": best.sampler, **settings}
        store_low_temperature(config.weights, kept[best.sampler], {**record, "rows": [asdict(row) for row in rows]})
        console.print(f"stored in {config.weights}", highlight=False)


def _check(config: TemperatureConfig) -> None:
    check_numbers(config, {"draws": 0, "poses": 1, "finalists": 1, "final_poses": 1})
    if not 1 <= config.run <= config.steps:
        raise mistake("run", f"got {config.run} of {config.steps} steps", "give a number from 1 to --steps")
    if config.store:
        check_store(config, "temperatures are")


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run_choice(TemperatureConfig, main, __doc__, arguments)


if __name__ == "__main__":
    cli()
