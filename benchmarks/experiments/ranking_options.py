"""Options of the study of ranking, and the complexes that they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, final

import numpy as np
from rich.console import Console

from benchmarks.experiments import study
from benchmarks.experiments.docking_sets import read_listed
from benchmarks.experiments.ranking_rows import KNOWN, UNSEEN
from domains.docking.networks.weights import DockingModel
from domains.docking.structures.complexes import Complex, Conformer
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.data import SPLITS, read_split
from domains.options import mistake


@dataclass(frozen=True)
class Options:
    """Options of the study."""

    data: tuple[Path, ...]
    """folders with NAME/protein.pdb and NAME/ligands.sdf, together those of the two validation lists"""
    weights: Path
    """general, demo, or a file of domains.docking.train"""
    nfe: tuple[int, ...]
    """network evaluations a pose; weights are fitted at the first"""
    samples: tuple[int, ...]
    """poses a complex; the fewer are the first of the most. Weights are fitted at the first number"""
    seed: int
    """of all random numbers"""
    known: int | None
    """held-out ligands of known targets, at most: one of each cluster before a second one of any"""
    unseen: int | None
    """complexes of unseen targets, likewise"""
    pocket: str
    """where to dock, as for benchmarks.docking"""
    conformer: Conformer
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    fitted_on: Literal["training", "known", "unseen"]
    """complexes that weights of combinations are fitted on. Where they are ranked as well, it is with weights that were
    fitted without those of their cluster, in five parts"""
    chosen_on: Literal["known", "unseen"]
    """complexes on which the best ranker is chosen"""
    train: int
    """training complexes to fit weights on, with --fitted-on training"""
    refinement_steps: int
    """of the minimiser, before poses are ranked"""
    restraint: float
    """kcal/mol/Å² that holds poses back in it; 0 = none"""
    trials: int
    """held-out ligands on which refinements are compared; 0 = none"""
    restraints: tuple[float, ...]
    """kcal/mol/Å² of the refinements that are compared"""
    checked: int
    """complexes of each split whose first poses PoseBusters checks, at the first numbers of evaluations and poses"""
    vina: int
    """complexes of each split that Vina docks; 0 = none"""
    exhaustiveness: int
    """of Vina"""
    vina_minutes: float | None
    """CPU minutes after which Vina is stopped; the page names the complexes that it did not dock, and gives its share
    without them and with them as misses. null = as long as it takes"""
    store: bool
    """put the weights of the best combination beside those of the network"""
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train; intervals are then over clusters"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    validation_targets: Path = SPLITS / "validation_targets.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    page: Path | None = None
    """Markdown page with the markers of the tables"""


def check(options: Options) -> None:
    """Refuse what is impossible.

    Raises:
        InputError: naming the option.
    """
    study.check_numbers(
        train=(options.train, 2),
        exhaustiveness=(options.exhaustiveness, 1),
        refinement_steps=(options.refinement_steps, 0),
        restraint=(options.restraint, 0),
        **{name: (value, 0) for name in ("known", "unseen") if (value := getattr(options, name)) is not None},
        **({} if options.vina_minutes is None else {"vina_minutes": (options.vina_minutes, 0.01)}),
    )
    study.check_each_once(nfe=options.nfe, samples=options.samples)
    if min(options.samples) < 2:
        raise mistake("samples", f"got {min(options.samples)}", "give numbers >= 2, for one pose needs no ranking")
    if not options.data:
        raise mistake("data", "got none", "give at least one folder")
    try:
        read_pocket_choice(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error


@final
@dataclass(frozen=True, eq=False)
class Sets:
    """What is docked.

    Attributes:
        train: complexes that the network was trained on; none unless weights are fitted on them.
        splits: KNOWN and UNSEEN -> complexes.
        clusters: which proteins are alike; None where nobody says.
    """

    train: Sequence[Complex]
    splits: Mapping[str, Sequence[Complex]]
    clusters: Clusters | None


def read_sets(options: Options, model: DockingModel, log: Console) -> Sets:
    """The complexes, as the model docks them.

    Raises:
        InputError: if a file or a folder cannot be used, or a set that is needed is empty.
    """
    clusters = None if options.clusters is None else read_clusters(options.clusters)
    alike = clusters or Clusters()
    lists = {KNOWN: options.validation_ligands, UNSEEN: options.validation_targets}
    limits = {KNOWN: options.known, UNSEEN: options.unseen}
    splits = {}
    for name, path in lists.items():
        folders = options.data if limits[name] != 0 else ()
        usable = read_listed(folders, path, options.pocket, options.conformer, options.seed, model, log)
        limit = limits[name]
        splits[name] = usable if limit is None else drawn(usable, limit, options.seed, alike)
    train: list[Complex] = []
    if options.fitted_on == "training":
        parts, _ = read_split(
            options.data,
            options.validation_ligands,
            options.validation_targets,
            options.clusters,
            pocket=options.pocket,
            conformer=options.conformer,
            seed=options.seed,
        )
        train, _ = model.prepare(drawn(parts.train, options.train, options.seed, alike))
    needed = {options.fitted_on: train, options.chosen_on: splits[split_of(options.chosen_on)]}
    if options.fitted_on != "training":
        needed[options.fitted_on] = list(splits[split_of(options.fitted_on)])
    for what, own in needed.items():
        if not own:
            option = "fitted_on" if what == options.fitted_on else "chosen_on"
            raise mistake(option, f"there are no complexes called '{what}' in --data", "give other data or lists")
    return Sets(train, splits, clusters)


def split_of(name: str) -> str:
    """What tables call "known" and "unseen"."""
    return {"known": KNOWN, "unseen": UNSEEN}[name]


def drawn(complexes: Sequence[Complex], count: int, seed: int, clusters: Clusters) -> list[Complex]:
    """`count` complexes, in turn of every cluster, so that a large one does not outweigh the others."""
    groups: dict[str, list[Complex]] = {}
    for i in np.random.default_rng(seed).permutation(len(complexes)).tolist():
        groups.setdefault(clusters.of(complexes[i].name), []).append(complexes[i])
    rounds = [own[k] for k in range(len(complexes)) for own in groups.values() if k < len(own)]
    return rounds[:count]
