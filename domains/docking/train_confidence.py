"""Train a confidence head: ``python -m domains.docking.train_confidence --weights FILE --data DIR --out DIR``.

The score network docks complexes of the training split, and its own atoms, with its weights frozen, are what a small
head sees of each pose: within 2 Å of the bound one, or not? Poses of complexes that the network was trained on are too
good, so that some of them are stopped early and some docked at score scale 1 (training/confidence_poses.py); the data
may hold complexes that the network has not seen, too. Writes to --out: poses/ (each complex when it is done: the same
command goes on), confidence.safetensors, and results.json: how often the first pose is within 2 Å on the validation
ligands and on unseen targets, by the head and by the other rankers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domains.bootstrap import Interval, bootstrap_difference, bootstrap_interval
from domains.docking.engine import dock
from domains.docking.learn_grids import one_of_each
from domains.docking.networks.shipped import GENERAL
from domains.docking.networks.weights import DockingModel, load_weights
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.confidence import PoseConfidence, load_confidence, save_head
from domains.docking.ranking.consensus import Consensus, symmetries
from domains.docking.ranking.ranker import Ranker
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.stored_weights import stored_weights
from domains.docking.ranking.vina_score import VinaScore
from domains.docking.refine.local import Refinement
from domains.docking.samplers import hand_made_sampler
from domains.docking.settings import SOLVER
from domains.docking.structures.complexes import Complex, Conformer
from domains.docking.structures.remarks import print_reading
from domains.docking.training.clusters import Clusters
from domains.docking.training.confidence_head import HeadTraining, fit_head
from domains.docking.training.confidence_poses import labelled_poses
from domains.docking.training.data import SPLITS, Split, read_split
from domains.docking.validation import page
from domains.errors import InputError
from domains.options import check_numbers, mistake, prepare_folder
from domains.progress import WorkProgress

RANDOM: Final = "a random pose"
BEST: Final = "the best of all"


@dataclass(frozen=True)
class ConfidenceConfig:
    """Options of the training."""

    data: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf"""
    out: Path
    """where poses and results live; what was interrupted there goes on"""
    weights: Path = GENERAL
    """of the score network, with its score scale chosen"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_clusters.txt"
    """kept out of training, as there; the test is on both"""
    pocket: str = "ligand"
    """where to dock, as for benchmarks.docking"""
    conformer: Conformer = "input"
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    complexes: int = 160
    """to train on: one of each cluster, then a second one, ..."""
    poses: int = 4
    """of a complex and way to dock it"""
    test: int = 32
    """complexes of each test split, at most"""
    samples: int = 10
    """poses of each that are ranked"""
    head: HeadTraining = field(default_factory=HeadTraining)
    """how the head is fitted"""
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class RankRow:
    """How often a ranker's first pose is within 2 Å, with a 95% interval over clusters, and minus the shipped one."""

    split: str
    ranker: str
    complexes: int
    first: Interval
    minus_shipped: Interval


def main(config: ConfidenceConfig, log: Console) -> list[RankRow]:
    """Dock, fit, test, write and print.

    Raises:
        InputError: for what the user can mend.
    """
    check_numbers(config, {"complexes": 5, "poses": 1, "test": 1, "samples": 2, "threads": 1})
    prepare_folder(config.out)
    torch.set_num_threads(config.threads)
    model = load_weights(config.weights)
    lists = config.validation_ligands, config.validation_targets, config.clusters
    how: Mapping[str, Any] = {"pocket": config.pocket, "conformer": config.conformer, "seed": config.seed}
    parts, problems = read_split(config.data, *lists, **how)
    print_reading(parts.all, problems, log)
    train, *tests = (_drawn(part, model, config, parts) for part in (parts.train, parts.ligands, parts.targets))
    train, tests = train[: config.complexes], [part[: config.test] for part in tests]
    if not train:
        raise mistake("data", "nothing in it is left to train on", "give others")
    named = {"held-out ligands of known targets": tests[0], "unseen targets": tests[1]}
    plan = {"poses": float(len(train)), **{name: 2.0 * len(part) for name, part in named.items() if part}}
    rows: list[RankRow] = []
    with WorkProgress(log, plan, unit="complexes") as bar:
        with bar.stage("poses"):
            found = labelled_poses(model, train, config.poses, config.seed, config.out / "poses", bar.evaluated)
        groups = [parts.clusters.of(own.name) for own in found]
        head, record = fit_head(found, groups, config.head, config.seed)
        path = config.out / "confidence.safetensors"
        save_head(path, head, model, json.dumps({"config": asdict(config), **record}, default=str))
        log.print(f"head: {record}", highlight=False, markup=False, soft_wrap=True)
        ranker = load_confidence(path, model)
        for name, part in named.items():
            if part:
                with bar.stage(name):
                    rows += rank_rows(name, model, part, ranker, config, parts.clusters, bar)
    content = {"config": asdict(config), "training": record, "rows": [asdict(row) for row in rows]}
    (config.out / "results.json").write_text(json.dumps(content, indent=1, default=str))
    print_rows(rows, page())
    return rows


def _drawn(part: Sequence[Complex], model: DockingModel, config: ConfidenceConfig, parts: Split) -> list[Complex]:
    usable, _ = model.prepare(part)
    order = np.random.default_rng(config.seed).permutation(len(usable)).tolist()
    return one_of_each([usable[i] for i in order], parts.clusters)


def rank_rows(
    split: str,
    model: DockingModel,
    complexes: Sequence[Complex],
    confidence: PoseConfidence,
    config: ConfidenceConfig,
    clusters: Clusters,
    bar: WorkProgress,
) -> list[RankRow]:
    """The first pose by each ranker, of poses that were docked by ten evaluations; refined ones where it says so."""
    rankers: dict[str, Ranker] = {"consensus": Consensus(), "residual": Residual(model), "vina": VinaScore(None)}
    weights = stored_weights(model.path).weights
    shipped, usual = Combination([rankers[name] for name in weights], weights), " + ".join(weights)
    sampler, names = hand_made_sampler("edm", SOLVER, 10), [clusters.of(c.name) for c in complexes]
    near: dict[str, list[NDArray[np.float64]]] = {}
    for complex_ in complexes:
        docked = dock(model, [complex_], sampler, samples=config.samples, seed=config.seed).positions[complex_.name]
        docked = docked[np.isfinite(docked).all((1, 2))]
        assert complex_.reference is not None
        for kind, poses in (("", docked), (", refined", Refinement()(complex_, docked).positions)):
            good = (symmetric_rmsd(poses, complex_.reference, symmetries(complex_)) < 2.0).astype(float)
            ways = {name: rankers[name].rank(complex_, poses) for name in ("consensus", "residual")}
            ways["confidence"] = confidence.rank(complex_, poses)
            if kind:
                ways |= {"vina": rankers["vina"].rank(complex_, poses), usual: shipped.rank(complex_, poses)}
            for name, scores in ways.items():
                near.setdefault(name + kind, []).append(good[scores.order[:1]])
            near.setdefault(RANDOM + kind, []).append(np.array([good.mean()]))
            near.setdefault(BEST + kind, []).append(np.array([good.max()]))
        bar.evaluated(2)

    def together(values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        groups: dict[str, list[NDArray[np.float64]]] = {}
        for name, own in zip(names, values, strict=True):
            groups.setdefault(name, []).append(own)
        return [np.concatenate(own) for own in groups.values()]

    stored = together(near[f"{usual}, refined"])
    return [
        RankRow(
            split,
            name,
            len(complexes),
            bootstrap_interval(together(values), "mean", seed=0),
            bootstrap_difference(together(values), stored, "mean", seed=0),
        )
        for name, values in near.items()
    ]


def print_rows(rows: Sequence[RankRow], console: Console) -> None:
    """One table a split, one line a ranker."""
    for split in dict.fromkeys(row.split for row in rows):
        own = [row for row in rows if row.split == split]
        table = Table(title=f"{split}: {own[0].complexes} complexes, 10 evaluations a pose (edm)", box=SIMPLE)
        for heading in ("ranked by", "first < 2 Å", "95%", "minus shipped, points"):
            table.add_column(heading, justify="left" if heading == "ranked by" else "right")
        for row in own:
            first, gap = row.first, row.minus_shipped
            numbers = (f"{first.estimate:.0%}", f"{100 * first.low:.0f}-{100 * first.high:.0f}")
            away = f"{100 * gap.estimate:+.0f} [{100 * gap.low:+.0f}, {100 * gap.high:+.0f}]"
            table.add_row(row.ranker, *numbers, away)
        console.print(table)


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    log = Console(stderr=True)
    try:
        main(tyro.cli(ConfidenceConfig, description=__doc__, args=arguments), log)
    except (InputError, ValueError) as error:
        log.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        log.print("stopped; the same command goes on from here")
        raise SystemExit(130) from None


if __name__ == "__main__":
    cli()
