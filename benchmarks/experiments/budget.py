"""Few steps and many poses, or the other way round: ``python -m benchmarks.experiments.budget --complexes DIR``.

A ligand is docked with a total number of network evaluations: as many poses as it pays for. Its poses are refined and
ranked as `ld3 dock` does with the same weights, and what counts is the first one. Compared are the learned grids that
`ld3 dock` takes, hand-made ones, score scales, and DiffDock's SDE where temperatures were chosen for the weights, on
held-out ligands of known targets and on unseen clusters. Writes to --out: results.json; a study that was interrupted
goes on. With --page, the tables are put into a Markdown page.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import Table, check_page, share
from benchmarks.experiments import study
from benchmarks.experiments.budget_rows import Row, dock_and_refine, row_of, ways_of
from benchmarks.experiments.docking_sets import KNOWN, UNSEEN, validation_set
from benchmarks.experiments.shipped_samplers import learned_samplers, verdict
from domains.docking.dock_files import plan_of
from domains.docking.dock_options import DockOptions
from domains.docking.ranked_docking import DockPlan
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.residual import LEVELS, Residual
from domains.docking.ranking.stored_weights import StoredWeights, stored_weights
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex, Conformer
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.training.clusters import Clusters, read_clusters
from domains.options import check_nfe, mistake, prepare_folder
from domains.progress import WorkProgress
from ld3 import get_solver
from ld3.fingerprint import fingerprint

BLOCK: Final = "budget"

_REFINING: Final = 8.0  # evaluations that take as long as refining a pose
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
    seed: int
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    weights: Path
    """general, demo, or a file of domains.docking.train, with what lies beside it: learned grids, what orders poses"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("budget", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, rank, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    _check(options)
    plan, remarks = plan_of(DockOptions(weights=options.weights, seed=options.seed))
    model = plan.model
    stored = stored_weights(model.path)  # now, for the file may change while poses are docked
    for remark in remarks:
        log.print(f"note: {remark}", highlight=False, markup=False, soft_wrap=True)
    clusters = Clusters() if options.clusters is None else read_clusters(options.clusters)
    learned = learned_samplers(model, options.nfe)
    missing = {nfe: verdict(model, nfe) for nfe in options.nfe if nfe not in learned}
    ways = ways_of(model, learned, options.nfe, options.long_nfe, options.score_scales)
    most, longest = max(options.budgets), max(way.sampler.nfe for way in ways)
    if most < longest:
        raise mistake("budgets", f"got {most} at most, and one pose of a sampler takes {longest}", "give a larger one")
    limits = {KNOWN: options.known, UNSEEN: options.unseen}
    sets = {
        name: validation_set(
            options.complexes,
            name,
            limit,
            clusters,
            model,
            pocket=options.pocket,
            conformer=options.conformer,
            seed=options.seed,
            log=log,
        )
        for name, limit in limits.items()
    }
    began = time.process_time()
    kept = study.Kept(Store(options.out / "cache"), fingerprint(model.network), options.pocket, options.conformer)
    stages = {
        f"{way.name}, c = {way.score_scale:g}, {way.sampler.nfe} NFE, {name}": (way, name)
        for way in ways
        for name in sets
    }
    work = {
        stage: len(sets[name]) * way.samples(most) * (way.sampler.nfe + _REFINING)
        for stage, (way, name) in stages.items()
    }
    rows: list[Row] = []

    def write(*, complete: bool) -> str:
        seconds = time.process_time() - began
        content: dict[str, Any] = {
            "complexes": {name: [c.name for c in part] for name, part in sets.items()},
            "ranking": {name: plan.identity[name] for name in ("refinement", "ranker", "ranker_weights")},
            "without_learned_grid": {str(nfe): why for nfe, why in missing.items()},
            "rows": [asdict(row) for row in rows],
        }
        study.write_results(
            options.out, "ld3.budget", options, _PACKAGES, complete=complete, cpu_seconds=seconds, **content
        )
        return block(options, plan, stored, rows, sets, missing, seconds)

    with WorkProgress(log, work) as bar:
        for stage, (way, name) in stages.items():
            samples = way.samples(most)

            def refined(samples: int = samples) -> None:
                bar.advance(_REFINING * samples)

            with bar.stage(stage):
                found = dock_and_refine(plan, sets[name], way, samples, kept, bar.counter(), refined)
                rows += [
                    row_of(name, way, budget, found, plan.ranker, clusters)
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
    if any(not c > 0 for c in options.score_scales):
        raise mistake("score_scales", f"got {min(options.score_scales):g}", "give positive numbers")
    if not options.complexes:
        raise mistake("complexes", "got none", "give at least one folder")
    study.check_numbers(
        budgets=(min(options.budgets), max(options.nfe)),
        known=(options.known, 1),
        unseen=(options.unseen, 1),
        seed=(options.seed, 0),
    )
    try:
        read_pocket_choice(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    if options.page is not None:
        check_page("page", options.page, BLOCK)
    prepare_folder(options.out)


def block(
    options: Options,
    plan: DockPlan,
    stored: StoredWeights,
    rows: Sequence[Row],
    sets: Mapping[str, Sequence[Complex]],
    missing: Mapping[int, str],
    seconds: float,
) -> str:
    """Origin and one table a set, in Markdown."""
    counts = " and ".join(f"{len(part)} {name}" for name, part in sets.items())
    drawn = "proteins" if options.clusters is None else "clusters"
    ranker, refinement, model = plan.ranker, plan.refinement, plan.model
    assert refinement is not None
    ranked_by = " + ".join(ranker.weights) if isinstance(ranker, Combination) else ranker.name
    about = (
        f"{study.made_by('budget', options)}. Weights {options.weights.stem}, {counts}; pocket {options.pocket}, "
        f"conformers {options.conformer}. First pose within 2 Å, in % of complexes with 95% intervals (bootstrap over "
        f"{drawn}), refined and ranked as `ld3 dock` does with these weights: by {ranked_by}, after up to "
        f"{refinement.steps} steps of refinement, restraint {refinement.restraint:g}; in brackets how many poses the "
        "budget pays for. By consensus, mean and best of all: at the largest budget; the first two of poses as they "
        f"were docked, without refinement, the last of refined ones. {seconds / 60:.0f} CPU minutes in this call."
    )
    if isinstance(ranker, Combination):
        about += f" The ranking is that of {stored.path.name} ({stored.origin})."
        if Residual.name in ranker.weights:
            about += f" Its residual takes {len(LEVELS)} evaluations a pose more, which no budget counts."
    left_out = [f"No row of a learned grid at {nfe} NFE: {why}." for nfe, why in missing.items()]
    if model.low_temperature is None:
        left_out.append("No row of DiffDock's SDE: no temperatures were chosen for these weights.")
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
    return "\n\n".join([" ".join([about, *left_out]), *tables])


if __name__ == "__main__":
    sys.exit(main())
