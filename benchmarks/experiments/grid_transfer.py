"""Why a learned docking grid does harm where the network is unsure: ``python -m benchmarks.experiments.grid_transfer``.

The grid that comes with the weights is taken apart: its times without its network levels, one clock instead of one per
factor, one factor at a time, its early or late part, a mean of it and the hand-made grid. Every part docks complexes of
known targets and complexes of proteins that the network has never seen, from the same starts. Then grids are learned on
complexes that the network was not trained on, and on both kinds, each with a final test on complexes held back; the
shipped grid was learned on those of training. Writes to --out: results.json; an interrupted study goes on. With --page,
the tables are put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page, difference
from benchmarks.experiments import study
from benchmarks.experiments.docking_trial_rows import figures_of
from domains import docking
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock_by_teacher, dock_groups, make_groups
from domains.docking.fits import learn_grid
from domains.docking.general_grids import general_fit
from domains.docking.networks.weights import DockingModel
from domains.docking.samplers import grid_sampler
from domains.docking.settings import SOLVER, TEACHER, fit_config
from domains.docking.structures.complexes import Complex
from domains.docking.structures.text_files import read_names
from domains.docking.training.data import SPLITS, split
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import Grid, get_solver
from ld3.grids.hand_made import hand_made
from ld3.learn import FitResult

BLOCK: Final = "transfer"
HAND: Final = "edm"
SHIPPED: Final = "shipped"
KNOWN: Final = "known targets"
UNSEEN: Final = "unseen proteins"

_PACKAGES: Final = ("torch", "torch-geometric", "e3nn", "rdkit", "numpy", "scipy")
_TARGET_SERIES: Final = "fep_plus/"  # how the list of clusters names what `complexes` holds


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    complexes: Path
    """the training data: folder with NAME/protein.pdb and NAME/ligands.sdf"""
    others: Path
    """a second such folder, with clusters.txt: proteins that are alike in a line, the series of the first folder too"""
    nfe: int
    """network evaluations a pose"""
    score_scales: tuple[float, ...]
    """at which the shipped and the hand-made grid dock unseen proteins besides the model's own"""
    samples: int
    """poses a complex"""
    known: int
    """complexes of known targets, at most"""
    unseen: int
    """complexes of the second folder, at most, besides the unseen targets of the first"""
    fit_complexes: int
    """complexes of a fit"""
    fit_poses: int
    """teacher poses of a fit"""
    fit_steps: int
    """gradient steps of a fit; 0 leaves the fits out"""
    seed: int
    out: Path
    """folder for the results"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


@dataclass(frozen=True)
class Row:
    """A grid on one set of complexes; success is a fraction of poses, lengths are in Å.

    Attributes:
        part: of the study: "parts", "scales" or "fits".
        name, asks: which grid, and what the row is there to show.
        of: the set.
        score_scale: at which it docked.
        poses: docked.
        success_2A, rmsd_to_teacher: mean and median, with 95% intervals (complexes, then poses, resampled).
        success_minus_hand, rmsd_minus_hand: paired differences to `HAND`; None for that one.
    """

    part: str
    name: str
    asks: str
    of: str
    score_scale: float
    poses: int
    success_2A: Interval
    rmsd_to_teacher: Interval
    success_minus_hand: Interval | None
    rmsd_minus_hand: Interval | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("grid_transfer", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, fit, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    model = docking.load_model(options.weights)
    shipped = general_fit(model, options.nfe)
    if shipped is None or shipped.grid.score_scale != model.score_scale:
        raise mistake("weights", f"there is no grid of {options.nfe} evaluations beside them", "give others")
    sets, sure, unsure = _read(options)
    store, began = Store(options.out / "cache"), time.process_time()
    by_hand = hand_made(model.noise_range.clock(model.score_scale), get_solver(SOLVER).steps(options.nfe))
    poses = {name: options.samples * len(part) for name, part in sets.items()}
    grids = parts_of(by_hand, shipped.grid)
    plan: dict[str, float] = {
        "parts": (TEACHER.nfe + options.nfe * len(grids)) * sum(poses.values()),
        "scales": len(options.score_scales) * (TEACHER.nfe + 2 * options.nfe) * poses[UNSEEN],
        "fits": 2 * (options.nfe * sum(poses.values())) if options.fit_steps else 0.0,
    }
    rows: list[Row] = []
    fits: dict[str, FitResult] = {}

    def write(*, complete: bool) -> str:
        content: dict[str, Any] = {
            "complexes": {name: [c.name for c in part] for name, part in sets.items()},
            "rows": [asdict(row) for row in rows],
            "fits": {name: {"verdict": fit.verdict(), "seconds": fit.seconds} for name, fit in fits.items()},
        }
        spent = time.process_time() - began
        study.write_results(
            options.out, "ld3.grid_transfer", options, _PACKAGES, complete=complete, cpu_seconds=spent, **content
        )
        return block(options, rows, fits, sets, spent)

    with WorkProgress(log, plan) as bar:
        with bar.stage("parts"):
            for name, part in sets.items():
                rows += _rows("parts", name, model, part, grids, options, store, bar)
                write(complete=False)
        with bar.stage("scales"):
            for c in options.score_scales:
                other = replace(model, score_scale=c)
                both = {name: (f"score scale {c:g}", grids[name][1].at(c)) for name in (HAND, SHIPPED)}
                rows += _rows("scales", UNSEEN, other, sets[UNSEEN], both, options, store, bar)
                write(complete=False)
        with bar.stage("fits"):
            half = options.fit_complexes // 2
            learned_on = {
                "not trained on": unsure[: options.fit_complexes],
                "half of each": [*sure[:half], *unsure[:half]],
            }
            for name, part in learned_on.items() if options.fit_steps else ():
                fits[name] = _fitted(model, part, options, bar)
                write(complete=False)
            if fits:
                # A fit that lost its test gave the hand-made grid back: its row says so.
                asked = {name: (f"learned on complexes {name}", fit.grid) for name, fit in fits.items()}
                for name, part in sets.items():
                    found = _rows("fits", name, model, part, {HAND: grids[HAND], **asked}, options, store, bar)
                    rows += [row for row in found if row.name != HAND]
    study.publish(options.page, BLOCK, write(complete=True))
    return 0


def _check(options: Options) -> None:
    check_nfe("nfe", (options.nfe,), get_solver(SOLVER))
    study.check_each_once(score_scales=options.score_scales, least=0)
    study.check_numbers(
        samples=(options.samples, 1),
        known=(options.known, 2),
        unseen=(options.unseen, 2),
        fit_complexes=(options.fit_complexes, 2),
        fit_poses=(options.fit_poses, 2),
        fit_steps=(options.fit_steps, 0),
        seed=(options.seed, 0),
    )
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def _read(options: Options) -> tuple[dict[str, list[Complex]], list[Complex], list[Complex]]:
    """Complexes to dock by set; some that the network was trained on, and some that it was not, to learn from."""
    own = [c for c in docking.read(options.complexes)[0] if c.reference is not None]
    ligands, targets = (read_names(SPLITS / f"validation_{name}.txt") for name in ("ligands", "targets"))
    known = split(own, ligands, targets)
    folders = unseen_folders((options.others / "clusters.txt").read_text())
    generator = torch.Generator().manual_seed(options.seed)
    # One complex a protein: the first of the list that can be read.
    one_each: dict[int, Complex] = {}
    for c in docking.read(options.others)[0]:
        cluster = folders.get(c.name.split("/")[0])
        if cluster is not None and c.reference is not None:
            one_each.setdefault(cluster, c)
    others, sure, ligands_known = (
        [part[i] for i in torch.randperm(len(part), generator=generator).tolist()]
        for part in (list(one_each.values()), list(known.train), list(known.ligands))
    )
    sets = {KNOWN: ligands_known[: options.known], UNSEEN: [*known.targets, *others[: options.unseen]]}
    for name, part in sets.items():
        if not part:
            raise mistake("complexes", f"there are no {name} with a known pose", "give others")
    return sets, sure, others[options.unseen :]


def unseen_folders(clusters: str) -> dict[str, int]:
    """Folder -> number of its cluster, of the clusters in which there is no series of the first folder.

    Args:
        clusters: a line each, names separated by tabs; comments begin with #.
    """
    found: dict[str, int] = {}
    for i, line in enumerate(clusters.splitlines()):
        names = line.split("\t")
        if not line.startswith("#") and not any(name.startswith(_TARGET_SERIES) for name in names):
            found.update(dict.fromkeys(names, i))
    return found


def parts_of(by_hand: Mapping[str, Grid], learned: Grid) -> dict[str, tuple[str, Grid]]:
    """Name -> what the row asks, and the grid: all of these, and what is made of parts of the learned one."""
    hand = by_hand[HAND]
    n, c = hand.n_steps, hand.score_scale
    ramp = torch.linspace(0, 1, n + 1, dtype=torch.float64)

    def mixed(share: Tensor | float, name: str) -> Grid:
        """The learned grid by `share` at each node, the hand-made one by the rest, network levels with their nodes."""
        weights = torch.as_tensor(share, dtype=torch.float64).expand(n + 1)
        solver = {f: hand.solver[f] + weights * (learned.solver[f] - hand.solver[f]) for f in hand.solver}
        network = {f: hand.network[f] + weights[:-1] * (learned.network[f] - hand.network[f]) for f in hand.network}
        return Grid(solver, network, name, c)

    def only(factor: str) -> Grid:
        solver = {**hand.solver, factor: learned.solver[factor]}
        return Grid(solver, {**hand.network, factor: learned.network[factor]}, f"{factor} alone", c)

    levels = {f: _lagging(hand.solver[f], learned.solver[f], learned.network[f]) for f in hand.solver}
    found = {HAND: ("made by hand", hand)}
    for name, grid in by_hand.items():
        if not any(grid.equals(other) for _, other in found.values()):
            found[name] = ("made by hand", grid)
    found[SHIPPED] = ("the learned grid, whole", learned)
    found["times alone"] = ("the network is given the solver's levels", Grid.coupled(learned.solver, "times alone", c))
    found["network levels alone"] = ("edm's times; the network lags as many steps", Grid(hand.solver, levels, "lag", c))
    found["one clock"] = ("the mean of its three clocks, for all factors", _one_clock(learned))
    for factor, what in (("tr", "position"), ("rot", "orientation"), ("tor", "torsions")):
        if factor in hand.solver:
            found[f"{factor} alone"] = (f"its clock for {what} alone, edm for the others", only(factor))
    found["early"] = ("itself at first, edm at the end", mixed(1 - ramp, "early"))
    found["late"] = ("edm at first, itself at the end", mixed(ramp, "late"))
    for share in (0.25, 0.5, 0.75):
        found[f"{share:.0%} of it"] = (f"{share:.0%} of the way from edm: a trust region", mixed(share, "mixed"))
    return found


def _lagging(nodes: Tensor, learned_nodes: Tensor, learned_levels: Tensor) -> Tensor:
    """Levels as many steps behind `nodes` as the learned ones are behind theirs."""
    steps = np.interp(learned_levels, learned_nodes, np.arange(len(nodes)))
    return torch.from_numpy(np.interp(steps, np.arange(len(nodes)), nodes))


def _one_clock(grid: Grid) -> Grid:
    """All factors at the mean progress of theirs, as a share of their interval."""
    ends = {f: (nodes[0], nodes[-1] - nodes[0]) for f, nodes in grid.solver.items()}
    solver, network = (
        torch.stack([(levels[f] - first) / length for f, (first, length) in ends.items()]).mean(0)
        for levels in (grid.solver, grid.network)
    )
    return Grid(
        {f: first + length * solver for f, (first, length) in ends.items()},
        {f: first + length * network for f, (first, length) in ends.items()},
        "one clock",
        grid.score_scale,
    )


def _rows(
    part: str,
    of: str,
    model: DockingModel,
    complexes: Sequence[Complex],
    grids: Mapping[str, tuple[str, Grid]],
    options: Options,
    store: Store,
    bar: WorkProgress,
) -> list[Row]:
    """Dock a set on every grid, from the same starts; `HAND` comes first."""
    groups = make_groups(model, complexes, options.samples, options.seed)
    goals, _ = dock_by_teacher(groups, replace(TEACHER, checked=len(groups)), store, bar.counter())
    hand: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] | None = None
    rows = []
    for name, (asks, grid) in grids.items():
        docked: DockedPoses = dock_groups(groups, grid_sampler(grid, get_solver(SOLVER)), store, bar.counter())
        figures = figures_of(docked, goals)
        to_teacher = list(figures.to_teacher.values())
        near = [np.asarray(values, dtype=np.float64) for values in figures.near.values()]
        gaps = (
            (None, None)
            if hand is None
            else (
                bootstrap_difference(near, hand[0], "mean", seed=0),
                bootstrap_difference(to_teacher, hand[1], "median", seed=0),
            )
        )
        hand = hand or (near, to_teacher)
        rate, rmsd = bootstrap_interval(near, "mean", seed=0), bootstrap_interval(to_teacher, "median", seed=0)
        n = sum(map(len, near))
        rows.append(Row(part, name, asks, of, model.score_scale, n, rate, rmsd, *gaps))
    return rows


def _fitted(model: DockingModel, complexes: Sequence[Complex], options: Options, bar: WorkProgress) -> FitResult:
    """A grid learned on these complexes for others, from the best hand-made one."""
    return learn_grid(
        replace(model, path=None),  # without the grid beside its weights to start from
        complexes,
        options.nfe,
        poses=options.fit_poses,
        seed=options.seed,
        config=replace(fit_config(options.nfe), steps=options.fit_steps),
        teacher=replace(TEACHER, checked=16),
        for_others=True,
        folder=options.out / "cache",
        on_progress=bar.follow(),
    )


def block(
    options: Options,
    rows: Sequence[Row],
    fits: Mapping[str, FitResult],
    sets: Mapping[str, Sequence[Complex]],
    seconds: float,
) -> str:
    """Origin and tables, in Markdown."""
    counts = " and ".join(f"{len(part)} complexes of {name}" for name, part in sets.items())
    origin = (
        f"{study.made_by('grid_transfer', options)}. {counts} x {options.samples} poses, {options.nfe} NFE, without "
        f"ranking; {seconds / 60:.0f} CPU minutes. Intervals: 95%, bootstrap over complexes, then poses; "
        f"differences to '{HAND}' are paired."
    )
    columns = ("within 2 Å", f"minus {HAND}, points", "to teacher, Å", f"minus {HAND}, Å")
    headings = ("grid", *(f"{name}: {column}" for name in sets for column in columns), "what it asks")
    tables = []
    for part in ("parts", "fits"):
        names = list(dict.fromkeys((row.name, row.asks) for row in rows if row.part == part))
        by_set = {(row.name, row.of): row for row in rows if row.part == part}
        cells = [
            (name, *(cell for of in sets if (row := by_set.get((name, of))) for cell in _cells(row)), asks)
            for name, asks in names
            if all((name, of) in by_set for of in sets)
        ]
        if cells:
            tables.append(Table(headings, cells).markdown())
    tables += [f"- {name}: {fit.verdict()}" for name, fit in fits.items()]
    scales = [row for row in rows if row.part == "scales"]
    if scales:
        cells = [(f"{row.score_scale:g}", row.name, *_cells(row)) for row in scales]
        tables.append(f"{UNSEEN.capitalize()} at other score scales:")
        tables.append(Table(("score scale", "grid", *columns), cells, text_columns=2).markdown())
    return "\n\n".join([origin, *tables])


def _cells(row: Row) -> tuple[str, str, str, str]:
    rate, low, high = (f"{100 * value:.0f}" for value in row.success_2A)
    rmsd = "{:.2f} [{:.2f}, {:.2f}]".format(*row.rmsd_to_teacher)
    points, length = row.success_minus_hand, row.rmsd_minus_hand
    return (
        f"{rate} [{low}, {high}]",
        "" if points is None else difference(points.estimate, points[1:], 100, ".1f"),
        rmsd,
        "" if length is None else difference(length.estimate, length[1:], 1, ".2f"),
    )


if __name__ == "__main__":
    sys.exit(main())
