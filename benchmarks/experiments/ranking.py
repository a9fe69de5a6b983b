"""Rank and refine poses in several ways: ``python -m benchmarks.experiments.ranking --data DIR``.

Docks held-out ligands of known targets and complexes of unseen targets, and asks how often each ranker's first pose is
within 2 Å, beside a random pose and the best of all; Vina itself docks some of them. Weights of combinations are fitted
on training complexes; which ranker is best is chosen on the held-out ligands. DIR is the demo model's training data.
Writes to --out: results.json; a study that was interrupted goes on. With --page, the tables are put into a Markdown
page; with --store, the weights of the best combination go where `ld3 dock` finds them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store, write_text
from benchmarks.common.tables import check_page
from benchmarks.docking.vina import optimise_by_vina
from benchmarks.experiments import study
from benchmarks.experiments.ranking_poses import Scored, score_poses
from benchmarks.experiments.ranking_rows import (
    KNOWN,
    MEAN,
    UNSEEN,
    Row,
    all_weights,
    best_ranker,
    grouped,
    rank_rows,
    top,
)
from benchmarks.experiments.ranking_tables import TRIED, ranking_block, refinement_block, vina_block
from benchmarks.experiments.ranking_validity import KINDS, Checker, Weights, ways
from benchmarks.experiments.ranking_vina import dock_in_turn, vina_rows
from domains import docking
from domains.bootstrap import bootstrap_interval
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.combination import WEIGHTS
from domains.docking.ranking.consensus import symmetries
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex
from domains.docking.training.data import SPLITS, Split, read_split
from domains.options import prepare_folder
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint

BLOCK: Final = "ranking"
REFINE_BLOCK: Final = "refinement"
VINA_BLOCK: Final = "vina"

_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy", "posebusters", "vina", "meeko")


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    data: Path
    """the training data of the demo model: folder with NAME/protein.pdb and NAME/ligands.sdf"""
    nfe: tuple[int, ...]
    """network evaluations a pose; weights are fitted at the first"""
    samples: int
    """poses a complex"""
    seed: int
    """of all random numbers"""
    train: int
    """training complexes to fit weights on"""
    trials: int
    """held-out ligands on which refinements are compared; 0 = none"""
    restraints: tuple[float, ...]
    """kcal/mol/Å² of the refinements that are compared"""
    checked: int
    """complexes of each split whose first poses PoseBusters checks, at the first number of evaluations"""
    vina: int
    """complexes of each split that Vina docks; 0 = none"""
    exhaustiveness: int
    """of Vina"""
    store: bool
    """put the weights of the best combination beside the rankers"""
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study with the command line's arguments; the exit status."""
    return study.run_study("ranking", Options, compare, __doc__, arguments)


def compare(options: Options, log: Console) -> int:
    """Dock, score, fit, choose, and write.

    Raises:
        InputError: for what the user can mend.
    """
    study.check_numbers(
        samples=(options.samples, 2), train=(options.train, 2), exhaustiveness=(options.exhaustiveness, 1)
    )
    study.check_each_once(nfe=options.nfe)
    if options.page is not None:
        check_page("page", options.page, BLOCK, REFINE_BLOCK, VINA_BLOCK)
    prepare_folder(options.out)
    model = docking.load_model()
    split, _ = read_split([options.data], SPLITS / "validation_ligands.txt", SPLITS / "validation_targets.txt")
    return _Study(options, model, split, log).run()


class _Study:
    def __init__(self, options: Options, model: DockingModel, split: Split, log: Console) -> None:
        self.options, self.model, self.log = options, model, log
        self.train = drawn(split.train, options.train, options.seed)
        self.splits: dict[str, Sequence[Complex]] = {KNOWN: split.ligands, UNSEEN: split.targets}
        self.kept = study.Kept(Store(options.out / "kept"), fingerprint(model.network), model.score_scale)

    def run(self) -> int:
        options = self.options
        first = options.nfe[0]
        sizes = {name: len(own) for name, own in self.splits.items()}
        vina = {name: drawn(own, options.vina, options.seed) for name, own in self.splits.items()}
        plan = {"training complexes": 2.0 * len(self.train)}
        plan |= {f"{name}, {nfe} NFE": 2.0 * size for nfe in options.nfe for name, size in sizes.items()}
        plan |= {"refinement": 8.0 * options.trials, "validity": 8.0 * options.checked * len(sizes)}
        plan |= {"Vina": 60.0 * sum(map(len, vina.values()))}
        with WorkProgress(self.log, plan, unit="s") as bar:
            checker = Checker(self.kept.store, lambda count: bar.advance(8 * count))
            with bar.stage("training complexes"):
                taught = self._scored(self.train, first, bar)
            tables: dict[tuple[str, int], list[Scored]] = {}
            for nfe in options.nfe:
                for name, own in self.splits.items():
                    with bar.stage(f"{name}, {nfe} NFE"):
                        tables[name, nfe] = self._scored(own, nfe, bar)
            weights = {kind: all_weights(taught, kind) for kind in ("docked", "refined")}
            rows = [
                row
                for (name, nfe), table in tables.items()
                for kind in ("docked", "refined")
                for row in rank_rows(name, nfe, kind, table, weights[kind])
            ]
            chosen = best_ranker(rows, first)
            self._write(rows, weights, chosen, [], {})
            with bar.stage("validity"):
                rows = self._with_validity(rows, tables, weights, chosen, checker)
            self._write(rows, weights, chosen, [], {})
            with bar.stage("refinement"):
                tried = self._refinements(tables[KNOWN, first][: options.trials], checker)
            self._write(rows, weights, chosen, tried, {})
            with bar.stage("Vina"):
                docked = dock_in_turn(vina, options.exhaustiveness, options.seed, self.kept, lambda: bar.advance(60))
                beside = [
                    row
                    for name, own in vina.items()
                    for row in vina_rows(
                        name,
                        options.exhaustiveness,
                        {found.name: docked[found.name] for found in own},
                        {nfe: tables[name, nfe] for nfe in options.nfe},
                        weights,
                        chosen,
                        checker,
                    )
                ]
        names = {name: [found.name for found in own] for name, own in vina.items()}
        self._write(rows, weights, chosen, tried, names, beside)
        if options.store:
            store_weights(options, weights["refined"], chosen)
        # A table of nothing would take the place of one that another command made.
        study.publish(options.page, BLOCK, ranking_block(options, rows, chosen, sizes))
        if tried:
            study.publish(options.page, REFINE_BLOCK, refinement_block(options, tried))
        if beside:
            study.publish(options.page, VINA_BLOCK, vina_block(options, beside, chosen))
        return 0

    def _scored(self, complexes: Sequence[Complex], nfe: int, bar: WorkProgress) -> list[Scored]:
        options = self.options
        return score_poses(
            self.model, complexes, nfe, options.samples, options.seed, Refinement(), self.kept, lambda: bar.advance(2)
        )

    def _with_validity(
        self,
        rows: Sequence[Row],
        tables: Mapping[tuple[str, int], Sequence[Scored]],
        weights: Weights,
        chosen: str,
        checker: Checker,
    ) -> list[Row]:
        """PoseBusters on the first poses by the chosen ranker and on a random one, docked and refined."""
        first, new = self.options.nfe[0], {(row.split, row.nfe, row.poses, row.ranker): row for row in rows}
        for name, own in self.splits.items():
            checked = {found.name for found in drawn(own, self.options.checked, self.options.seed)}
            table = [scored for scored in tables[name, first] if scored.complex.name in checked]
            verdicts = checker.first_poses(table, weights, chosen)
            for kind in KINDS if table else ():
                for ranker in (MEAN, chosen):
                    valid = [answers[kind, ranker] for answers in verdicts]
                    places = [0 if ranker == MEAN else top(s, kind, ways(weights, kind, ranker)) for s in table]
                    near = [scored.rmsd[kind][place] < 2.0 for scored, place in zip(table, places, strict=True)]
                    both = [np.array([float(a and b)]) for a, b in zip(valid, near, strict=True)]
                    interval = bootstrap_interval(grouped(name, table, both), "mean", seed=0)
                    key = (name, first, kind, ranker)
                    new[key] = replace(new[key], valid=float(np.mean(valid)), valid_near=interval)
        return list(new.values())

    def _refinements(self, table: Sequence[Scored], checker: Checker) -> list[dict[str, Any]]:
        """Success and validity of the first poses of each complex, moved in several ways."""
        moved: list[dict[str, NDArray[np.float32]]] = []
        for scored in table:
            complex_, docked = scored.complex, scored.positions["docked"][:TRIED]
            own = {"none": docked}
            for restraint in self.options.restraints:
                own[f"restraint {restraint:g}"] = Refinement(restraint=restraint)(complex_, docked).positions
            key = (complex_.name, fingerprint(docked.tobytes()))
            plain = self.kept("vina-local", key, partial(_optimised_by_vina, complex_, docked))
            own["Vina's own"] = np.array(plain, dtype=np.float32)
            moved.append(own)
        jobs = [(scored.complex, np.concatenate(list(own.values()))) for scored, own in zip(table, moved, strict=True)]
        ways: dict[str, list[tuple[NDArray[np.float64], list[bool], NDArray[np.float64]]]] = {}
        for scored, own, verdicts in zip(table, moved, checker.poses(jobs), strict=True):
            complex_, docked = scored.complex, scored.positions["docked"][:TRIED]
            assert complex_.reference is not None
            for k, (way, poses) in enumerate(own.items()):
                rmsd = symmetric_rmsd(poses, complex_.reference, symmetries(complex_))
                shift = np.sqrt(((poses - docked) ** 2).sum(-1).mean(1))
                ways.setdefault(way, []).append((rmsd, verdicts[k * TRIED : (k + 1) * TRIED], shift))
        return [
            {
                "way": way,
                "complexes": len(own),
                "success": bootstrap_interval([(rmsd < 2.0).astype(float) for rmsd, _, _ in own], "mean", seed=0),
                "valid": bootstrap_interval([np.array(valid, dtype=float) for _, valid, _ in own], "mean", seed=0),
                "median_rmsd": float(np.median(np.concatenate([rmsd for rmsd, _, _ in own]))),
                "median_moved": float(np.median(np.concatenate([shift for _, _, shift in own]))),
            }
            for way, own in ways.items()
        ]

    def _write(
        self,
        rows: Sequence[Row],
        weights: object,
        chosen: str,
        tried: object,
        vina: Mapping[str, Sequence[str]],
        beside: Sequence[Row] = (),
    ) -> None:
        content = {"rows": [asdict(row) for row in rows], "weights": weights, "chosen": chosen}
        content["beside_vina"] = [asdict(row) for row in beside]
        study.write_results(
            self.options.out, "ld3.docking.ranking", self.options, _PACKAGES, **content, refinements=tried, vina=vina
        )


def _optimised_by_vina(complex_: Complex, positions: NDArray[np.float32]) -> list[Any]:
    return list(optimise_by_vina(complex_, positions).tolist())


def drawn(complexes: Sequence[Complex], count: int, seed: int) -> list[Complex]:
    """`count` complexes, in turn of every series, so that a large one does not outweigh the others."""
    series: dict[str, list[Complex]] = {}
    for i in np.random.default_rng(seed).permutation(len(complexes)).tolist():
        series.setdefault(complexes[i].name.split("/")[0], []).append(complexes[i])
    rounds = [own[k] for k in range(len(complexes)) for own in series.values() if k < len(own)]
    return rounds[:count]


def store_weights(options: Options, weights: Mapping[str, Mapping[str, float]], chosen: str) -> None:
    """The chosen weights where `ld3 dock` finds them; a single ranker has the weight 1."""
    found = {
        "command": study.command_line("ranking", options),
        "fitted_on": f"{options.train} training complexes of the demo model, refined poses, {options.nfe[0]} NFE",
        "chosen": f"{chosen}: most first poses within 2 Å on the held-out ligands of known targets",
        "weights": weights.get(chosen, {chosen: 1.0}),
    }
    write_text(WEIGHTS, json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
