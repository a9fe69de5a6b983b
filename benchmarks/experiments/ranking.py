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
from itertools import combinations
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from benchmarks.common.store import Store, write_text
from benchmarks.common.tables import Table, check_page, difference
from benchmarks.docking.vina import dock_by_vina, optimise_by_vina
from benchmarks.experiments import study
from benchmarks.experiments.ranking_poses import PLAIN, Scored, combined, score_poses
from domains import docking
from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.poses.validity import check_all
from domains.docking.ranking.combination import WEIGHTS, fit_weights
from domains.docking.ranking.consensus import symmetries
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex
from domains.docking.training.data import SPLITS, Split, read_split
from domains.options import prepare_folder
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint

KNOWN: Final = "held-out ligands of known targets"
UNSEEN: Final = "unseen targets"
BLOCK: Final = "ranking"
REFINE_BLOCK: Final = "refinement"

_PACKAGES: Final = ("torch", "rdkit", "numpy", "scipy", "posebusters", "vina", "meeko")
_AT_ONCE: Final = 16  # complexes of a call of PoseBusters
_TRIED: Final = 4  # poses of a complex on which refinements are compared


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


@dataclass(frozen=True)
class Row:
    """Of one ranker on one split; shares of complexes.

    Attributes:
        split, nfe, poses, ranker: what was ranked, and how; poses are "docked" or "refined".
        complexes: how many.
        success: first pose within 2 Å, with a 95% interval: over ligands; over targets, then ligands, if unseen.
        minus_mean: of `success`, paired, minus the mean of all poses; None for the mean itself.
        valid, valid_near: first poses that pass PoseBusters, and those that are within 2 Å as well; None if not asked.
        cpu_seconds: a ligand, all poses, one thread.
    """

    split: str
    nfe: int
    poses: str
    ranker: str
    complexes: int
    success: Interval
    minus_mean: Interval | None
    valid: float | None = None
    valid_near: Interval | None = None
    cpu_seconds: float | None = None


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
        plan |= {f"Vina, {name}": 45.0 * len(own) for name, own in vina.items()}
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
            for name, own in vina.items():
                with bar.stage(f"Vina, {name}"):
                    rows += self._vina(name, own, [tables[name, nfe] for nfe in options.nfe], weights, chosen, bar)
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
            complex_, docked = scored.complex, scored.positions["docked"][:_TRIED]
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
            complex_, docked = scored.complex, scored.positions["docked"][:_TRIED]
            assert complex_.reference is not None
            for k, (way, poses) in enumerate(own.items()):
                rmsd = symmetric_rmsd(poses, complex_.reference, symmetries(complex_))
                shift = np.sqrt(((poses - docked) ** 2).sum(-1).mean(1))
                ways.setdefault(way, []).append((rmsd, verdicts[k * _TRIED : (k + 1) * _TRIED], shift))
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

            def make(complex_: Complex = complex_) -> dict[str, Any]:
                found = dock_by_vina(complex_, options.exhaustiveness, 1, options.seed + 1)
                return {"pose": found.positions[:1].tolist(), "seconds": found.cpu_seconds}

            plain = self.kept("vina", (complex_.name, options.exhaustiveness, options.seed), make)
            pose = np.array(plain["pose"], dtype=np.float32)
            assert complex_.reference is not None
            near.append((symmetric_rmsd(pose, complex_.reference, symmetries(complex_)) < 2.0).astype(float))
            poses.append((complex_, pose))
            seconds.append(plain["seconds"])
            bar.advance(45)
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


MEAN: Final = "a random pose"
BEST: Final = "the best of all"


def drawn(complexes: Sequence[Complex], count: int, seed: int) -> list[Complex]:
    """`count` complexes, in turn of every series, so that a large one does not outweigh the others."""
    series: dict[str, list[Complex]] = {}
    for i in np.random.default_rng(seed).permutation(len(complexes)).tolist():
        series.setdefault(complexes[i].name.split("/")[0], []).append(complexes[i])
    rounds = [own[k] for k in range(len(complexes)) for own in series.values() if k < len(own)]
    return rounds[:count]


def all_weights(table: Sequence[Scored], kind: str) -> dict[str, dict[str, float]]:
    """Every combination of two or more rankers -> its weights."""
    near = [scored.rmsd[kind] < 2.0 for scored in table]
    scores = [scored.scores[kind] for scored in table]
    names = [own for n in range(2, len(PLAIN) + 1) for own in combinations(PLAIN, n)]
    return {" + ".join(own): fit_weights(scores, near, own) for own in names}


def top(scored: Scored, kind: str, weights: Mapping[str, float]) -> int:
    """Place of the best pose."""
    return int(combined(scored, kind, weights).argmax())


def grouped(split: str, table: Sequence[Scored], values: Sequence[NDArray[Any]]) -> list[NDArray[np.float64]]:
    """One array a ligand; one a target where targets are what is drawn."""
    if split != UNSEEN:
        return [np.asarray(own, dtype=np.float64) for own in values]
    groups: dict[str, list[NDArray[Any]]] = {}
    for scored, own in zip(table, values, strict=True):
        groups.setdefault(scored.complex.name.split("/")[0], []).append(own)
    return [np.concatenate(own).astype(np.float64) for own in groups.values()]


def rank_rows(
    split: str, nfe: int, kind: str, table: Sequence[Scored], weights: Mapping[str, Mapping[str, float]]
) -> list[Row]:
    """A random pose, each ranker, and the best of all."""
    if not table:
        return []
    samples = len(table[0].rmsd[kind])
    near = [scored.rmsd[kind] < 2.0 for scored in table]
    mean = grouped(split, table, near)

    def row(ranker: str, values: Sequence[NDArray[Any]]) -> Row:
        own = grouped(split, table, [np.repeat(v, samples // len(v)) for v in values])
        single = grouped(split, table, values)
        gap = None if ranker == MEAN else bootstrap_difference(own, mean, "mean", seed=0)
        return Row(split, nfe, kind, ranker, len(table), bootstrap_interval(single, "mean", seed=0), gap)

    ways: dict[str, Mapping[str, float]] = {**{name: {name: 1.0} for name in PLAIN}, **weights}
    picked = {
        name: [own[top(scored, kind, way) :][:1] for scored, own in zip(table, near, strict=True)]
        for name, way in ways.items()
    }
    best = [np.array([own.any()]) for own in near]
    return [row(MEAN, near), *(row(name, values) for name, values in picked.items()), row(BEST, best)]


def best_ranker(rows: Sequence[Row], nfe: int) -> str:
    """Of the refined poses of held-out ligands, summed over all numbers of evaluations; of equal ones the simplest."""
    totals: dict[str, float] = {}
    for row in rows:
        if row.split == KNOWN and row.poses == "refined" and row.ranker not in (MEAN, BEST):
            totals[row.ranker] = totals.get(row.ranker, 0.0) + row.success.estimate
    return max(totals, key=lambda name: (round(totals[name], 9), -name.count("+")))


def store_weights(options: Options, weights: Mapping[str, Mapping[str, float]], chosen: str) -> None:
    """The chosen weights where `ld3 dock` finds them; a single ranker has the weight 1."""
    found = {
        "command": study.command_line("ranking", options),
        "fitted_on": f"{options.train} training complexes of the demo model, refined poses, {options.nfe[0]} NFE",
        "chosen": f"{chosen}: most first poses within 2 Å on the held-out ligands of known targets",
        "weights": weights.get(chosen, {chosen: 1.0}),
    }
    write_text(WEIGHTS, json.dumps(found, indent=2) + "\n")


def ranking_block(options: Options, rows: Sequence[Row], chosen: str, sizes: Mapping[str, int]) -> str:
    """Origin and table, in Markdown."""
    about = (
        f"{study.made_by('ranking', options)}. {options.samples} poses a ligand; {sizes[KNOWN]} held-out ligands of "
        f"known targets and {sizes[UNSEEN]} complexes of unseen targets. Shares of ligands in %, with 95% intervals "
        "(bootstrap over ligands; over targets, then ligands, where unseen). Chosen on the held-out ligands: "
        f"**{chosen}**. Weights of combinations were fitted on {options.train} training complexes. Valid, and valid "
        f"and near: of the first poses of {options.checked} complexes of each split, by PoseBusters. CPU seconds: all "
        "poses of a ligand."
    )
    headings = (
        "split",
        "NFE",
        "poses",
        "ranked by",
        "n",
        "first < 2 Å",
        "minus random, points",
        "valid",
        "valid and < 2 Å",
        "CPU s",
    )
    cells = [
        (
            row.split,
            str(row.nfe or "-"),
            row.poses,
            row.ranker,
            str(row.complexes),
            _share(row.success),
            "" if row.minus_mean is None else difference(row.minus_mean.estimate, row.minus_mean[1:], 100, ".0f"),
            "" if row.valid is None else f"{100 * row.valid:.0f}",
            "" if row.valid_near is None else _share(row.valid_near),
            "" if row.cpu_seconds is None else f"{row.cpu_seconds:.1f}",
        )
        for row in rows
    ]
    return f"{about}\n\n{Table(headings, cells, text_columns=4).markdown()}"


def refinement_block(options: Options, tried: Sequence[Mapping[str, Any]]) -> str:
    """Origin and table, in Markdown."""
    count = tried[0]["complexes"] if tried else 0
    about = (
        f"{study.made_by('ranking', options)}. The first {_TRIED} poses of {count} held-out ligands of known targets, "
        f"{options.nfe[0]} NFE, not ranked. 95% intervals: bootstrap over ligands, "
        "then poses; lengths are medians in Å."
    )
    headings = ("refinement", "< 2 Å", "valid", "RMSD", "moved by")
    cells = [
        (
            row["way"],
            _share(Interval(*row["success"])),
            _share(Interval(*row["valid"])),
            f"{row['median_rmsd']:.2f}",
            f"{row['median_moved']:.2f}",
        )
        for row in tried
    ]
    return f"{about}\n\n{Table(headings, cells).markdown()}"


def _share(interval: Interval) -> str:
    return f"{100 * interval.estimate:.0f} [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


if __name__ == "__main__":
    sys.exit(main())
