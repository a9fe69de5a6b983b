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
from dataclasses import asdict, dataclass
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
from benchmarks.experiments.ranking_tables import TRIED, ranking_block, refinement_block
from benchmarks.experiments.ranking_vina import VinaRun, dock_in_turn
from domains import docking
from domains.bootstrap import bootstrap_interval
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.poses.validity import check_all
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

_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy", "posebusters", "vina", "meeko")
_AT_ONCE: Final = 16  # complexes of a call of PoseBusters


Job = tuple[Complex, NDArray[np.float32]]
"""A complex, and poses of it."""


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
        check_page("page", options.page, BLOCK, REFINE_BLOCK)
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
                rows = self._with_validity(rows, tables, weights, chosen, bar)
            self._write(rows, weights, chosen, [], {})
            with bar.stage("refinement"):
                tried = self._refinements(tables[KNOWN, first][: options.trials], bar)
            self._write(rows, weights, chosen, tried, {})
            with bar.stage("Vina"):
                docked = dock_in_turn(vina, options.exhaustiveness, options.seed, self.kept, lambda: bar.advance(60))
                for name, own in vina.items():
                    rows += self._vina(
                        name, own, docked, [tables[name, nfe] for nfe in options.nfe], weights, chosen, bar
                    )
        self._write(rows, weights, chosen, tried, {name: [c.name for c in own] for name, own in vina.items()})
        if options.store:
            store_weights(options, weights["refined"], chosen)
        study.publish(options.page, BLOCK, ranking_block(options, rows, chosen, sizes))
        study.publish(options.page, REFINE_BLOCK, refinement_block(options, tried))
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
        weights: Mapping[str, Mapping[str, Mapping[str, float]]],
        chosen: str,
        bar: WorkProgress,
    ) -> list[Row]:
        """PoseBusters on the first poses by the chosen ranker and on a random one, docked and refined."""
        verdicts: dict[tuple[str, int, str, str], list[bool]] = {}
        first = self.options.nfe[0]
        checked = {
            name: {found.name for found in drawn(own, self.options.checked, self.options.seed)}
            for name, own in self.splits.items()
        }
        some = {
            name: [scored for scored in tables[name, first] if scored.complex.name in own]
            for name, own in checked.items()
        }
        for name, table in some.items():
            jobs, picked = [], []
            for scored in table:
                picks = [
                    (kind, ranker, 0 if ranker == MEAN else top(scored, kind, weights[kind].get(ranker, {ranker: 1.0})))
                    for kind in ("docked", "refined")
                    for ranker in (MEAN, chosen)
                ]
                jobs.append((scored.complex, np.stack([scored.positions[kind][i] for kind, _, i in picks])))
                picked.append(picks)
            for picks, found in zip(picked, self._valid(jobs, bar), strict=True):
                for (kind, ranker, _), valid in zip(picks, found, strict=True):
                    verdicts.setdefault((name, first, kind, ranker), []).append(valid)
        new = []
        for row in rows:
            own = verdicts.get((row.split, row.nfe, row.poses, row.ranker))
            if own is None:
                new.append(row)
                continue
            table = some[row.split]
            used = {} if row.ranker == MEAN else weights[row.poses].get(row.ranker, {row.ranker: 1.0})
            near = [scored.rmsd[row.poses][top(scored, row.poses, used) if used else 0] < 2.0 for scored in table]
            both = [np.array([float(a and b)]) for a, b in zip(own, near, strict=True)]
            interval = bootstrap_interval(grouped(row.split, table, both), "mean", seed=0)
            new.append(Row(**{**vars(row), "valid": float(np.mean(own)), "valid_near": interval}))
        return new

    def _valid(self, jobs: Sequence[Job], bar: WorkProgress) -> list[list[bool]]:
        """PoseBusters on the poses of each complex, many at a time, for its worker takes long to start."""
        found: dict[str, list[bool]] = {}
        store = self.kept.store
        names = [f"valid-{fingerprint(found.name, poses.tobytes())}" for found, poses in jobs]
        left = []
        for name, job in zip(names, jobs, strict=True):
            if (answers := store.json(name)) is None:
                left.append((name, job))
            else:
                found[name] = answers
        for first in range(0, len(left), _AT_ONCE):
            part = left[first : first + _AT_ONCE]
            for (name, _), answers in zip(part, check_all([job for _, job in part], processes=1), strict=True):
                found[name] = [answer.valid is True for answer in answers]
                store.put_json(name, found[name])
            bar.advance(8 * len(part))
        return [found[name] for name in names]

    def _refinements(self, table: Sequence[Scored], bar: WorkProgress) -> list[dict[str, Any]]:
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
        for scored, own, verdicts in zip(table, moved, self._valid(jobs, bar), strict=True):
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

    def _vina(
        self,
        split: str,
        complexes: Sequence[Complex],
        docked: Mapping[str, VinaRun],
        tables: Sequence[Sequence[Scored]],
        weights: Mapping[str, Mapping[str, Mapping[str, float]]],
        chosen: str,
        bar: WorkProgress,
    ) -> list[Row]:
        """Vina and, on the same complexes, the chosen ranker's first refined pose."""
        options = self.options
        names = {found.name for found in complexes}
        near, seconds, poses = [], [], []
        for complex_ in complexes:
            pose, took = docked[complex_.name]
            assert complex_.reference is not None
            near.append((symmetric_rmsd(pose, complex_.reference, symmetries(complex_)) < 2.0).astype(float))
            poses.append((complex_, pose))
            seconds.append(took)
        if not complexes:
            return []
        valid = [answers[0] for answers in self._valid(poses, bar)]
        both = [np.array([float(v and n[0])]) for v, n in zip(valid, near, strict=True)]
        rows = []
        for nfe, table in zip(options.nfe, tables, strict=True):
            own = [scored for scored in table if scored.complex.name in names]
            for row in rank_rows(split, nfe, "refined", own, weights["refined"]):
                if row.ranker in (chosen, MEAN):
                    took = float(np.mean([sum(scored.cpu_seconds.values()) for scored in own]))
                    rows.append(Row(**{**vars(row), "split": f"{split}, Vina's", "cpu_seconds": took}))
        order = {found.name: k for k, found in enumerate(complexes)}
        own = sorted((s for s in tables[0] if s.complex.name in names), key=lambda s: order[s.complex.name])
        vina = Row(
            split=f"{split}, Vina's",
            nfe=0,
            poses=f"exhaustiveness {options.exhaustiveness}",
            ranker="Vina",
            complexes=len(complexes),
            success=bootstrap_interval(grouped(split, own, near), "mean", seed=0),
            minus_mean=None,
            valid=float(np.mean(valid)),
            valid_near=bootstrap_interval(grouped(split, own, both), "mean", seed=0),
            cpu_seconds=float(np.mean(seconds)),
        )
        return [*rows, vina]

    def _write(
        self, rows: Sequence[Row], weights: object, chosen: str, tried: object, vina: Mapping[str, Sequence[str]]
    ) -> None:
        content = {"rows": [asdict(row) for row in rows], "weights": weights, "chosen": chosen}
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
