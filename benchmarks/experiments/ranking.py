"""Rank and refine poses in several ways: ``python -m benchmarks.experiments.ranking --data DIR``.

Docks held-out ligands of known targets and complexes of unseen targets, and asks how often each ranker's first pose is
within 2 Å, beside a random pose and the best of all, for several numbers of poses; Vina itself docks some of them.
Weights of combinations are fitted on training complexes, or on others than those that they rank; which ranker is best
is chosen on one of the two sets. Writes to --out: results.json; a study that was interrupted goes on. With --page, the
tables are put into a Markdown page; with --store, the weights of the best combination go beside those of the network,
where `ld3 dock` finds them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.common.store import Store
from benchmarks.common.tables import check_page
from benchmarks.experiments import study
from benchmarks.experiments.ranking_options import Options, Sets, check, drawn, read_sets, split_of
from benchmarks.experiments.ranking_poses import Scored, score_poses, top
from benchmarks.experiments.ranking_refinement import refinements
from benchmarks.experiments.ranking_rows import KNOWN, MEAN, Row, best_ranker, grouped, rank_rows
from benchmarks.experiments.ranking_tables import ranking_block, refinement_block, vina_block
from benchmarks.experiments.ranking_validity import KINDS, Checker, Weights
from benchmarks.experiments.ranking_vina import dock_in_turn, vina_rows
from benchmarks.experiments.ranking_weights import Fitted, cross_fitted, fitted, records_of, store_weights
from benchmarks.experiments.shipped_samplers import grid_name
from domains import docking
from domains.bootstrap import bootstrap_interval
from domains.docking.networks.weights import DockingModel
from domains.docking.ranking.stored_weights import weights_path
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.training.clusters import Clusters
from domains.options import prepare_folder
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint

BLOCK: Final = "ranking"
REFINE_BLOCK: Final = "refinement"
VINA_BLOCK: Final = "vina"

_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy", "posebusters", "vina", "meeko")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("ranking", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, score, fit, choose, and write.

    Raises:
        InputError: for what the user can mend.
    """
    check(options)
    if options.page is not None:
        check_page("page", options.page, BLOCK, REFINE_BLOCK, VINA_BLOCK)
    prepare_folder(options.out)
    model = docking.load_model(options.weights)
    return _Study(options, model, read_sets(options, model, log), log).run()


class _Study:
    def __init__(self, options: Options, model: DockingModel, sets: Sets, log: Console) -> None:
        self.options, self.model, self.sets, self.log = options, model, sets, log
        inputs = (fingerprint(model.network), model.score_scale, options.pocket, options.conformer)
        store = Store(options.out / "kept")
        self.kept = study.Kept(store, *inputs)
        self.kept_of_vina = study.Kept(store, options.pocket, options.conformer)  # whatever the network is
        self.alike = sets.clusters or Clusters()
        self.grids = [grid_name(model, nfe) for nfe in options.nfe]

    def run(self) -> int:
        options, splits = self.options, self.sets.splits
        first = options.nfe[0], options.samples[0]
        sizes = {name: len(own) for name, own in splits.items()}
        vina = {name: self._drawn(own, options.vina) for name, own in splits.items()}
        seconds = 0.2 * max(options.samples)
        plan = {"training complexes": seconds * len(self.sets.train)}
        plan |= {f"{name}, {nfe} NFE": seconds * size for nfe in options.nfe for name, size in sizes.items()}
        plan |= {"refinement": 8.0 * options.trials, "validity": 8.0 * options.checked * len(sizes)}
        plan |= {"Vina": 60.0 * sum(map(len, vina.values()))}
        with WorkProgress(self.log, plan, unit="") as bar:
            checker = Checker(self.kept.store, lambda count: bar.advance(8 * count))
            with bar.stage("training complexes"):
                taught = self._scored(self.sets.train, first[0], bar)
            tables: dict[str, dict[tuple[int, int], list[Scored]]] = {name: {} for name in splits}
            for nfe in options.nfe:
                for name, own in splits.items():
                    with bar.stage(f"{name}, {nfe} NFE"):
                        found = self._scored(own, nfe, bar)
                    for samples in options.samples:
                        tables[name][nfe, samples] = [scored.first(samples) for scored in found]
            weights = self._weights(taught, tables)
            rows = [
                row
                for name, own in tables.items()
                for (nfe, _), table in own.items()
                for kind in KINDS
                for row in rank_rows(name, nfe, kind, table, weights[kind], self.sets.clusters)
            ]
            chosen = best_ranker(rows, split_of(options.chosen_on))
            self._write(rows, weights, chosen, [], {})
            with bar.stage("validity"):
                rows = self._with_validity(rows, tables, weights, chosen, checker)
            self._write(rows, weights, chosen, [], {})
            with bar.stage("refinement"):
                tried = refinements(tables[KNOWN][first][: options.trials], options.restraints, self.kept, checker)
            self._write(rows, weights, chosen, tried, {})
            with bar.stage("Vina"):
                box = read_pocket_choice(options.pocket)
                docked = dock_in_turn(
                    vina,
                    options.exhaustiveness,
                    options.seed,
                    self.kept_of_vina,
                    lambda: bar.advance(60),
                    box,
                    options.vina_minutes,
                )
                stopped = [name for name, run in docked.items() if run is None]
                beside = [
                    row
                    for name, own in vina.items()
                    for row in vina_rows(
                        name,
                        options.exhaustiveness,
                        {found.name: docked[found.name] for found in own},
                        tables[name],
                        weights,
                        chosen,
                        checker,
                        self.sets.clusters,
                    )
                ]
        names = {name: [found.name for found in own] for name, own in vina.items()}
        self._write(rows, weights, chosen, tried, names, beside, stopped)
        if options.store:
            self._store(weights["refined"], chosen, {name: own[first] for name, own in tables.items()})
        # A table of nothing would take the place of one that another command made.
        study.publish(options.page, BLOCK, ranking_block(options, rows, chosen, sizes, self.grids))
        if tried:
            study.publish(options.page, REFINE_BLOCK, refinement_block(options, tried))
        if beside:
            study.publish(options.page, VINA_BLOCK, vina_block(options, beside, chosen, stopped))
        return 0

    def _drawn(self, complexes: Sequence[Complex], count: int) -> list[Complex]:
        return drawn(complexes, count, self.options.seed, self.alike)

    def _scored(self, complexes: Sequence[Complex], nfe: int, bar: WorkProgress) -> list[Scored]:
        options, samples = self.options, max(self.options.samples)
        refinement = Refinement(options.restraint, options.refinement_steps)
        return score_poses(
            self.model,
            complexes,
            nfe,
            samples,
            options.seed,
            refinement,
            self.kept,
            lambda: bar.advance(0.2 * samples),
        )

    def _weights(
        self, taught: Sequence[Scored], tables: Mapping[str, Mapping[tuple[int, int], Sequence[Scored]]]
    ) -> dict[str, Fitted]:
        """Kind of poses -> weights; none where no complex of the fit has both near poses and others."""
        options = self.options
        first = options.nfe[0], options.samples[0]
        try:
            if options.fitted_on == "training":
                table = [scored.first(first[1]) for scored in taught]
                return {kind: fitted(table, kind) for kind in KINDS}
            own = tables[split_of(options.fitted_on)][first]
            return {kind: cross_fitted(own, kind, self.alike) for kind in KINDS}
        except ValueError as error:
            self.log.print(f"note: no combination is ranked by, for none can be fitted: {error}", markup=False)
            return dict.fromkeys(KINDS, Fitted({}))

    def _with_validity(
        self,
        rows: Sequence[Row],
        tables: Mapping[str, Mapping[tuple[int, int], Sequence[Scored]]],
        weights: Weights,
        chosen: str,
        checker: Checker,
    ) -> list[Row]:
        """PoseBusters on the first poses by the chosen ranker and on a random one, docked and refined."""
        nfe, samples = self.options.nfe[0], self.options.samples[0]
        new = {(row.split, row.nfe, row.samples, row.poses, row.ranker): row for row in rows}
        for name, own in self.sets.splits.items():
            checked = {found.name for found in self._drawn(own, self.options.checked)}
            table = [scored for scored in tables[name][nfe, samples] if scored.complex.name in checked]
            verdicts = checker.first_poses(table, weights, chosen)
            for kind in KINDS if table else ():
                for ranker in (MEAN, chosen):
                    valid = [answers[kind, ranker] for answers in verdicts]
                    places = [
                        0 if ranker == MEAN else top(s, kind, weights[kind].of(s.complex.name, ranker)) for s in table
                    ]
                    near = [scored.rmsd[kind][place] < 2.0 for scored, place in zip(table, places, strict=True)]
                    both = [np.array([float(a and b)]) for a, b in zip(valid, near, strict=True)]
                    interval = bootstrap_interval(grouped(name, table, both, self.sets.clusters), "mean", seed=0)
                    key = (name, nfe, samples, kind, ranker)
                    new[key] = replace(new[key], valid=float(np.mean(valid)), valid_near=interval)
        return list(new.values())

    def _store(self, weights: Fitted, chosen: str, tables: Mapping[str, Sequence[Scored]]) -> None:
        options = self.options
        count = len(self.sets.train) if options.fitted_on == "training" else None
        what = {"training": "training complexes", "known": KNOWN, "unseen": "complexes of unseen targets"}
        of = what[options.fitted_on]
        size = len(self.sets.splits[split_of(options.fitted_on)]) if options.fitted_on != "training" else count
        setting = (
            f"{options.samples[0]} refined poses, ranked by {chosen}, {self.grids[0]}, pocket {options.pocket}, "
            f"conformers {options.conformer}"
        )
        path = weights_path(options.weights)
        command = study.command_line("ranking", options)
        records = {
            kind: records_of(tables[split_of(kind)], chosen, weights)
            for kind in ("known", "unseen")
            if tables[split_of(kind)]
        }
        fitted_on = f"{size} {of}, {setting}"
        store_weights(
            path,
            command,
            fitted_on,
            what[options.chosen_on],
            chosen,
            weights.final,
            setting,
            options.samples[0],
            records,
        )
        self.log.print(f"stored in {path}", markup=False)

    def _write(
        self,
        rows: Sequence[Row],
        weights: Mapping[str, Fitted],
        chosen: str,
        tried: object,
        vina: Mapping[str, Sequence[str]],
        beside: Sequence[Row] = (),
        stopped: Sequence[str] = (),
    ) -> None:
        content: dict[str, Any] = {"rows": [asdict(row) for row in rows], "chosen": chosen}
        content["weights"] = {kind: own.final for kind, own in weights.items()}
        content["beside_vina"] = [asdict(row) for row in beside]
        study.write_results(
            self.options.out,
            "ld3.docking.ranking",
            self.options,
            _PACKAGES,
            **content,
            refinements=tried,
            vina=vina,
            vina_stopped=list(stopped),
        )


if __name__ == "__main__":
    sys.exit(main())
