"""What docking costs on this machine: ``python -m benchmarks.speed``.

Times one sampling step (one network evaluation, the solver, the kinematics) for P poses of one complex and for P
ligands on one receptor, at the size of DiffDock-L and of PocketNet, with random weights, split into parts. CPU seconds
are of all threads together and hold where the machine is shared; wall seconds do not. With --against, a file of the
published code's times on the same complex (6o5u, 268 residues, 33 atoms), the ratios to them are printed as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from benchmarks.speed.measure import Cost, docking_seconds, measure, random_model, read_complex, workload
from domains.errors import InputError, InputProblem

EXAMPLE = Path(__file__).parents[2] / "tests" / "data"


@dataclass(frozen=True)
class Options:
    """Options of the measurement."""

    networks: tuple[Literal["diffdock", "pocket"], ...] = ("diffdock", "pocket")
    poses: tuple[int, ...] = (1, 10, 40, 200)
    """P: poses of one complex, and ligands on one receptor"""
    times: tuple[float, ...] = (1.0, 0.5, 0.05)
    """t of the step, from 1 (all noise) to 0"""
    ligands: bool = True
    """also P ligands on one receptor"""
    docking: int = 0
    """also time a whole docking of 10 poses by the DiffDock-L network in so many steps, such as 20"""
    against: Path | None = None
    """timing.json of the published code"""
    protein: Path = EXAMPLE / "6o5u_protein.pdb"
    ligand: Path = EXAMPLE / "6o5u_ligand.sdf"
    seed: int = 0
    threads: int = 1
    out: Path | None = None
    """also write the figures to this JSON file"""


def main(options: Options) -> None:
    """Measure and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    torch.set_num_threads(options.threads)
    published = None if options.against is None else read_published(options.against)
    console, log = Console(width=160), Console(stderr=True)
    costs: list[Cost] = []
    for name in options.networks:
        model = random_model(name, options.seed)
        found = read_complex(options.protein, options.ligand, whole=name == "diffdock")
        measure(model, name, workload(found, 1, ligands=False, seed=options.seed), 1, 0.5, options.seed)  # warms up
        for kind in ("poses", "ligands") if options.ligands else ("poses",):
            for poses in options.poses:
                if kind == "ligands" and poses == 1:
                    continue
                members = workload(found, poses, ligands=kind == "ligands", seed=options.seed)
                for t in options.times:
                    costs.append(measure(model, name, members, poses, t, options.seed))
                    log.print(f"{name}, {poses} {kind}, t = {t:g}: {costs[-1].step_cpu:.2f} CPU s", highlight=False)
    console.print(table(costs, options.threads))
    whole = None
    if options.docking:
        members = workload(
            read_complex(options.protein, options.ligand, whole=True), 1, ligands=False, seed=options.seed
        )
        whole = docking_seconds(random_model("diffdock", options.seed), members, 10, options.docking, options.seed)
        console.print(
            f"10 poses, {options.docking} steps: {whole[0]:.1f} CPU s, {whole[1]:.1f} s wall", highlight=False
        )
    if published is not None:
        for line in comparison(costs, whole, options.docking, published):
            console.print(line, highlight=False)
    if options.out is not None:
        content = {
            "schema": "ld3.speed",
            "version": 1,
            "options": json.loads(json.dumps(asdict(options), default=str)),
            "versions": {name: version(name) for name in ("torch", "e3nn")},
            "costs": [asdict(cost) for cost in costs],
            "docking": whole,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(content, indent=2))


def table(costs: Sequence[Cost], threads: int) -> Table:
    """One line a workload."""
    parts = ("encoding", "graphs", "products", "kinematics", "solver", "rest")
    found = Table(title=f"CPU seconds of one step, {threads} threads; encoding is done once for all steps")
    headings = ("network", "P", "of", "t", "edges", *parts, "step", "wall", "outside", "a pose, ms", "peak MiB")
    for heading in headings:
        found.add_column(heading, justify="right")
    for cost in costs:
        found.add_row(
            cost.network,
            str(cost.poses),
            cost.workload,
            f"{cost.t:g}",
            "" if cost.edges is None else str(cost.edges),
            *(f"{cost.parts.get(part, 0.0):.3f}" for part in parts),
            f"{cost.step_cpu:.3f}",
            f"{cost.step_wall:.3f}",
            f"{cost.outside:.1%}",
            f"{1000 * cost.step_cpu / cost.poses:.1f}",
            f"{cost.memory:.0f}",
        )
    return found


def read_published(path: Path) -> dict[str, Any]:
    """The published code's figures at the size of DiffDock-L.

    Raises:
        InputError: if the file holds none.
    """
    try:
        found = json.loads(path.read_text())["diffdock_l"]
        evaluations = {float(row["t"]): row for row in found["network_eval"]}
        return {"evaluations": evaluations, "docking": float(found["sampling_no_crop"]["est_cpu_full_schedule"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = InputProblem(
            str(path), "", f"it holds no times of the published code ({error!r})", "give timing.json"
        )
        raise InputError(problem) from error


def comparison(
    costs: Sequence[Cost], whole: tuple[float, float] | None, steps: int, published: dict[str, Any]
) -> list[str]:
    """Ratios of CPU seconds on 10 poses, with the edges of both: the fewer edges, the less there is to do."""
    lines = []
    for cost in costs:
        row = published["evaluations"].get(cost.t)
        if cost.network == "diffdock" and cost.workload == "poses" and cost.poses == 10 and row is not None:
            theirs = row["receptor_cached_cpu_s_min"]
            lines.append(
                f"t = {cost.t:g}: {theirs:.1f} CPU s published ({row['cross_edges_one_direction']} edges), "
                f"{cost.step_cpu:.1f} here ({cost.edges} edges): {theirs / cost.step_cpu:.1f} times less"
            )
    if whole is not None and steps == 20:
        theirs = published["docking"]
        lines.append(f"20 steps: {theirs:.0f} CPU s published, {whole[0]:.0f} here: {theirs / whole[0]:.1f} times less")
    return lines


def _check(options: Options) -> None:
    for name in ("protein", "ligand"):
        path = getattr(options, name)
        if not path.is_file():
            raise InputError(InputProblem(f"--{name}", "", f"there is no file {path}", "give one"))
    for name, values in (("poses", options.poses), ("threads", (options.threads,))):
        if min(values, default=0) < 1:
            raise InputError(InputProblem(f"--{name}", "", f"got {values}", "give numbers of at least 1"))
    if not options.times or not all(0 < t <= 1 for t in options.times):
        raise InputError(InputProblem("--times", "", f"got {options.times}", "give numbers above 0, up to 1"))
    if options.docking < 0:
        raise InputError(InputProblem("--docking", "", f"got {options.docking}", "give a number of steps"))


def cli(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit status, 2 with one line for a mistake of the user."""
    try:
        main(tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.speed"))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(cli())
