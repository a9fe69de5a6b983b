"""Few steps and many poses, or the other way round: ``python -m benchmarks.experiments.budget --complexes DIR``.

A ligand is docked with a total number of network evaluations: as many poses as it pays for. Its poses are refined and
ranked, and what counts is the first one. Compared are learned and hand-made grids, score scales, and DiffDock's SDE at
the temperatures chosen for the weights, on held-out ligands of known targets and on unseen clusters. Writes to --out:
results.json; a study that was interrupted goes on. With --page, the tables are put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page
from benchmarks.experiments import study
from domains import docking
from domains.bootstrap import Interval, bootstrap_interval
from domains.docking.engine import dock_groups, make_groups
from domains.docking.general_grids import general_fit
from domains.docking.learn_grids import one_of_each
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.consensus import Consensus, symmetries
from domains.docking.ranking.ranker import Ranker
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.stored_weights import stored_weights
from domains.docking.ranking.vina_score import VinaScore
from domains.docking.refine.local import Refinement
from domains.docking.samplers import Sampler, diffdock_low_temperature_sde, grid_sampler, hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex, Conformer
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.data import SPLITS
from domains.errors import InputError
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import get_solver
from ld3.fingerprint import fingerprint

BLOCK: Final = "budget"
KNOWN: Final = "held-out ligands of known targets"
UNSEEN: Final = "unseen clusters"
HAND: Final = "edm"

_LISTS: Final = {KNOWN: "validation_ligands.txt", UNSEEN: "validation_clusters.txt"}
_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy")


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    complexes: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf, together those of the two validation lists"""
    budgets: tuple[int, ...]
    """network evaluations a ligand, over all of its poses"""
    nfe: tuple[int, ...]
    """evaluations a pose of the learned and the hand-made grids"""
    long_nfe: int
    """evaluations a pose of one more hand-made grid"""
    score_scales: tuple[float, ...]
    """at which the hand-made grid of the last --nfe docks besides the model's own"""
    known: int
    """held-out ligands, at most; one of each cluster before a second one of any"""
    unseen: int
    """complexes of unseen clusters, likewise"""
    pocket: str
    """where to dock, as for benchmarks.docking"""
    conformer: Conformer
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    refinement_steps: int
    """of the minimiser, before poses are ranked"""
    restraint: float
    """kcal/mol/Å² that holds poses back in it; 0 = none"""
    seed: int
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


@final
@dataclass(frozen=True, eq=False)
class Way:
    """A sampler, as tables call it."""

    name: str
    score_scale: float
    sampler: Sampler

    def samples(self, budget: int) -> int:
        """Poses that a budget pays for."""
        return budget // self.sampler.nfe


@dataclass(frozen=True)
class Row:
    """A way to dock on one set, at one budget; shares of complexes or poses.

    Attributes:
        of: the set.
        name, score_scale, nfe, samples, budget: how a ligand was docked.
        complexes: how many.
        first: first pose by the ranking that ships within 2 Å, with a 95% interval over clusters.
        by_consensus: the same, ranked by consensus alone, poses not refined.
        mean: of all poses, not refined.
        best: complexes with a pose within 2 Å among theirs, refined.
    """

    of: str
    name: str
    score_scale: float
    nfe: int
    samples: int
    budget: int
    complexes: int
    first: Interval
    by_consensus: Interval
    mean: Interval
    best: Interval


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("budget", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, rank, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    model = docking.load_model(options.weights)
    clusters = Clusters() if options.clusters is None else read_clusters(options.clusters)
    ways = ways_of(options, model)
    limits = {KNOWN: options.known, UNSEEN: options.unseen}
    sets = {name: _read(options, name, limit, clusters, model) for name, limit in limits.items()}
    store, began = Store(options.out / "cache"), time.process_time()
    kept = study.Kept(store, fingerprint(model.network), options.refinement_steps, options.restraint)
    rankers: dict[str, Ranker] = {"consensus": Consensus(), "residual": Residual(model), "vina": VinaScore(None)}
    weights = stored_weights(model.path).weights
    ranker = Combination([rankers[name] for name in weights], weights)
    # A refined pose takes about as long as twenty evaluations.
    plan = {
        f"{way.name}, c = {way.score_scale:g}, {way.sampler.nfe} NFE, {name}": float(
            len(part) * way.samples(max(options.budgets)) * (way.sampler.nfe + 20)
        )
        for way in ways
        for name, part in sets.items()
    }
    rows: list[Row] = []

    def write(*, complete: bool) -> str:
        seconds = time.process_time() - began
        content: dict[str, Any] = {
            "complexes": {name: [c.name for c in part] for name, part in sets.items()},
            "rows": [asdict(row) for row in rows],
        }
        study.write_results(
            options.out, "ld3.budget", options, _PACKAGES, complete=complete, cpu_seconds=seconds, **content
        )
        return block(options, rows, sets, model, seconds)

    with WorkProgress(log, plan) as bar:
        for stage, way, name in zip(plan, [way for way in ways for _ in sets], [*sets] * len(ways), strict=True):
            with bar.stage(stage):
                found = _poses(model, sets[name], way, options, store, kept, bar)
                rows += [
                    _row(name, way, budget, found, ranker, clusters)
                    for budget in options.budgets
                    if way.samples(budget)
                ]
            write(complete=False)
    study.publish(options.page, BLOCK, write(complete=True))
    return 0


def _check(options: Options) -> None:
    for name in ("nfe", "long_nfe"):
        value = getattr(options, name)
        check_nfe(name, value if isinstance(value, tuple) else (value,), get_solver(SOLVER))
    study.check_each_once(budgets=options.budgets, nfe=options.nfe)
    study.check_each_once(least=0, score_scales=options.score_scales)
    if not options.complexes:
        raise mistake("complexes", "got none", "give at least one folder")
    study.check_numbers(
        budgets=(min(options.budgets), max(options.nfe)),
        known=(options.known, 1),
        unseen=(options.unseen, 1),
        refinement_steps=(options.refinement_steps, 0),
        restraint=(options.restraint, 0),
        seed=(options.seed, 0),
    )
    try:
        read_pocket_choice(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def ways_of(options: Options, model: DockingModel) -> list[Way]:
    """Learned grids where there are some, hand-made ones, other score scales, and DiffDock's SDE.

    Raises:
        InputError: if a learned grid's file is no saved fit.
    """
    own = model.score_scale
    found = []
    for nfe in options.nfe:
        fit = general_fit(model, nfe)
        if fit is not None and fit.grid.score_scale == own:
            found.append(Way("learned", own, grid_sampler(fit.grid, fit.student())))
    found += [Way(HAND, own, hand_made_sampler(HAND, SOLVER, nfe)) for nfe in (*options.nfe, options.long_nfe)]
    last = options.nfe[-1]
    found += [Way(HAND, c, hand_made_sampler(HAND, SOLVER, last, c)) for c in options.score_scales if c != own]
    return [*found, Way("diffdock_sde", 1.0, diffdock_low_temperature_sde(model))]


def _read(options: Options, name: str, limit: int, clusters: Clusters, model: DockingModel) -> list[Complex]:
    """At most `limit` complexes of a list, drawn with the seed."""
    found: list[Complex] = []
    for folder in options.complexes:
        part, problems = docking.read(
            folder, pocket=options.pocket, conformer=options.conformer, only=SPLITS / _LISTS[name], seed=options.seed
        )
        if not part and not folder.is_dir():
            raise InputError(problems[0])
        found += part
    found, _ = model.prepare(found)
    if not found:
        raise mistake("complexes", f"there are no {name} in them", "give the folders of the validation lists")
    order = np.random.default_rng(options.seed).permutation(len(found)).tolist()
    return one_of_each([found[i] for i in order], clusters)[:limit]


@final
@dataclass(frozen=True, eq=False)
class Found:
    """Poses (S, A, 3) Å of a complex as docked, and refined; RMSDs (S,) Å of both to the bound pose."""

    complex: Complex
    docked: NDArray[np.float32]
    refined: NDArray[np.float32]
    rmsd: NDArray[np.float64]
    rmsd_refined: NDArray[np.float64]


def _poses(
    model: DockingModel,
    complexes: Sequence[Complex],
    way: Way,
    options: Options,
    store: Store,
    kept: study.Kept,
    bar: WorkProgress,
) -> list[Found]:
    samples = way.samples(max(options.budgets))
    groups = make_groups(replace(model, score_scale=way.score_scale), complexes, samples, options.seed)
    docked = dock_groups(groups, replace(way.sampler, score_scale=way.score_scale), store, bar.counter())
    found = []
    for complex_ in docked.complexes:
        own = docked.positions[complex_.name]

        def make(complex_: Complex = complex_, own: NDArray[np.float32] = own) -> Any:  # noqa: ANN401
            return Refinement(options.restraint, options.refinement_steps)(complex_, own).positions.tolist()

        refined = np.array(kept("refined", (complex_.name, fingerprint(own.tobytes())), make), dtype=np.float32)
        assert complex_.reference is not None
        rmsd, rmsd_refined = (
            symmetric_rmsd(poses, complex_.reference, symmetries(complex_)) for poses in (own, refined)
        )
        found.append(Found(complex_, own, refined, rmsd, rmsd_refined))
        bar.advance(20.0 * samples)
    return found


def _row(of: str, way: Way, budget: int, found: Sequence[Found], ranker: Ranker, clusters: Clusters) -> Row:
    n = way.samples(budget)
    firsts, consensus = [], []
    for own in found:
        first = int(ranker.rank(own.complex, own.refined[:n]).score.argmax())
        firsts.append(own.rmsd_refined[first] < 2.0)
        first = int(Consensus().rank(own.complex, own.docked[:n]).score.argmax())
        consensus.append(own.rmsd[first] < 2.0)
    best = [(own.rmsd_refined[:n] < 2.0).any() for own in found]
    mean = [own.rmsd[:n] < 2.0 for own in found]
    groups = [clusters.of(own.complex.name) for own in found]

    def interval(values: Sequence[Any]) -> Interval:
        together: dict[str, list[float]] = {}
        for group, own in zip(groups, values, strict=True):
            together.setdefault(group, []).extend(np.atleast_1d(own).astype(float).tolist())
        return bootstrap_interval([np.array(own) for own in together.values()], "mean", seed=0)

    figures = (interval(values) for values in (firsts, consensus, mean, best))
    return Row(of, way.name, way.score_scale, way.sampler.nfe, n, budget, len(found), *figures)


def block(
    options: Options,
    rows: Sequence[Row],
    sets: Mapping[str, Sequence[Complex]],
    model: DockingModel,
    seconds: float,
) -> str:
    """Origin and one table a set, in Markdown."""
    counts = " and ".join(f"{len(part)} {name}" for name, part in sets.items())
    path = model.path
    ranked_by = " + ".join(stored_weights(path).weights)
    about = (
        f"{study.made_by('budget', options)}. Model {path.stem if path else '-'}, {counts}; pocket {options.pocket}, "
        f"conformers {options.conformer}. First pose within 2 Å, in % of complexes with 95% intervals (bootstrap over "
        f"clusters), ranked by {ranked_by} after {options.refinement_steps} steps of refinement, "
        f"restraint {options.restraint:g}; in brackets how many poses the budget pays for. By consensus, mean and best "
        "of all: at the largest budget; the first two of poses as they were docked, without refinement, the last of "
        f"refined ones. {seconds / 60:.0f} CPU minutes in this call."
    )
    tables = []
    headings = ("sampler", "c", "NFE", *(f"{b} evaluations" for b in options.budgets), "by consensus", "mean", "best")
    for name in sets:
        ways = dict.fromkeys((row.name, row.score_scale, row.nfe) for row in rows if row.of == name)
        cells = []
        for way in ways:
            own = {r.budget: r for r in rows if r.of == name and (r.name, r.score_scale, r.nfe) == way}
            by_budget = [f"{share(own[b].first)} ({own[b].samples})" if b in own else "-" for b in options.budgets]
            last = own[max(own)]
            rest = [share(figure) for figure in (last.by_consensus, last.mean, last.best)]
            cells.append((way[0], f"{way[1]:g}", str(way[2]), *by_budget, *rest))
        tables += [f"{name[0].upper()}{name[1:]}:", Table(headings, cells).markdown()]
    return "\n\n".join([about, *tables])


def share(interval: Interval) -> str:
    """In %."""
    return f"{100 * interval.estimate:.0f} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


if __name__ == "__main__":
    sys.exit(main())
