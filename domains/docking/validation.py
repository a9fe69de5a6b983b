"""What the commands that choose a number on validation complexes share: which complexes, figures, the table."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypedDict, TypeVar, final

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from domains.bootstrap import bootstrap_interval
from domains.docking.docked_poses import DockedPoses
from domains.docking.networks.shipped import find_weights
from domains.docking.networks.weights import DockingModel, load_weights
from domains.docking.poses.metrics import clusters, success
from domains.docking.structures.complexes import Complex, Conformer, read
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.docking.structures.remarks import print_reading
from domains.docking.structures.symmetry import automorphisms
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.data import SPLITS, read_split
from domains.errors import InputError
from domains.options import check_numbers, mistake

Words: TypeAlias = Sequence[str] | None

_PAGE: Final = 110  # characters a line where there is no terminal to ask


@dataclass(frozen=True)
class ValidationOptions:
    """Which complexes a number is chosen on."""

    weights: Path
    """a file of domains.docking.train or .convert; general or demo, which come with the toolkit"""
    data: tuple[Path, ...] = ()
    """the training data: folders with NAME/protein.pdb and NAME/ligands.sdf; not needed for --split embedded"""
    split: Literal["ligands", "targets", "embedded"] = "ligands"
    """validation ligands of known targets, unseen targets, or (in-sample) the four of the posebusters package"""
    validation_ligands: Path = SPLITS / "validation_ligands.txt"
    """the lists that the model was trained with, see domains.docking.train"""
    validation_targets: Path = SPLITS / "validation_targets.txt"
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train; intervals are then over clusters"""
    pocket: str = "ligand"
    """where to dock: ligand, ligand:RADIUS, point-of-ligand, point-of-ligand:RADIUS or protein (Å)"""
    conformer: Conformer = "input"
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    limit: int | None = None
    """use that many complexes of the split, drawn with --seed"""
    seed: int = 0
    threads: int = 1


class Reading(TypedDict):
    """How complexes are read."""

    pocket: str
    conformer: Conformer
    seed: int


Chosen = TypeVar("Chosen", bound=ValidationOptions)


@dataclass(frozen=True)
class Row:
    """One line of the table; rates are fractions of poses."""

    sampler: str
    score_scale: float
    success_2A: float
    success_2A_interval: tuple[float, float]
    best_2A: float  # fraction of complexes with a pose within 2 Å among N
    best_2A_interval: tuple[float, float]
    distinct: float  # mean number of clusters at 1 Å among the N poses of a complex
    success_5A: float
    success_5A_interval: tuple[float, float]
    median_rmsd: float
    failed: int
    ms_per_pose: float


def summarise(name: str, docked: DockedPoses, seed: int, alike: Clusters | None = None) -> Row:
    """A pose that is not finite counts as a failure in every figure.

    The intervals are over complexes and their poses; over clusters and theirs if it is said which proteins are alike.
    """
    by_name = docked.rmsd()
    rmsd = list(by_name.values())
    near = [success(own, 2.0) for own in rmsd]
    groups = list(by_name) if alike is None else [alike.of(name) for name in by_name]
    two, five, best = (
        bootstrap_interval(_together(values, groups), "mean", seed)
        for values in (near, [success(own, 5.0) for own in rmsd], [np.array([own.any()]) for own in near])
    )
    found = np.concatenate(rmsd)
    return Row(
        sampler=name,
        score_scale=docked.score_scale,
        success_2A=two.estimate,
        success_2A_interval=(two.low, two.high),
        best_2A=best.estimate,
        best_2A_interval=(best.low, best.high),
        distinct=float(
            np.mean([1 + clusters(docked.positions[c.name], automorphisms(c.ligand)).max() for c in docked.complexes])
        ),
        success_5A=five.estimate,
        success_5A_interval=(five.low, five.high),
        median_rmsd=float(np.median(np.where(np.isfinite(found), found, np.inf))),
        failed=len(docked.failed),
        ms_per_pose=docked.ms_per_pose,
    )


def _together(values: Sequence[NDArray[Any]], groups: Sequence[str]) -> list[NDArray[Any]]:
    """What belongs to one group in one array, in the order in which the groups first come."""
    found: dict[str, list[NDArray[Any]]] = {}
    for own, group in zip(values, groups, strict=True):
        found.setdefault(group, []).append(own)
    return [np.concatenate(own) for own in found.values()]


def alike(config: ValidationOptions) -> Clusters | None:
    """The clusters, where they are given.

    Raises:
        InputError: if their file cannot be used.
    """
    return None if config.clusters is None else read_clusters(config.clusters)


@final
@dataclass(frozen=True, eq=False)
class Choice:
    """What a choice is made with.

    Attributes:
        model: whose number is chosen.
        complexes: that it is chosen on.
        log: where remarks and progress go.
        out: where tables go.
    """

    model: DockingModel
    complexes: list[Complex]
    log: Console
    out: Console


def begin(config: ValidationOptions) -> Choice:
    """Load the model, and read the complexes of the chosen split.

    Raises:
        InputError: for what the user can mend.
    """
    check_numbers(config, {"threads": 1} | ({} if config.limit is None else {"limit": 1}))
    torch.set_num_threads(config.threads)
    model, log = load_weights(config.weights), Console(stderr=True)
    return Choice(model, validation_complexes(config, model, log), log, page())


def validation_complexes(config: ValidationOptions, model: DockingModel, log: Console) -> list[Complex]:
    """The complexes of the chosen split as the model docks them, at most `config.limit`; says what cannot be used.

    Raises:
        InputError: if the data folder is missing, or holds none that can be docked.
    """
    try:
        read_pocket_choice(config.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    how: Reading = {"pocket": config.pocket, "conformer": config.conformer, "seed": config.seed}
    if config.split == "embedded":
        chosen, problems = read(**how)
    elif not config.data:
        raise mistake("data", f"not given, and --split {config.split} needs it", "give the training data's folder")
    else:
        lists = config.validation_ligands, config.validation_targets, config.clusters
        parts, problems = read_split(config.data, *lists, **how)
        chosen = list(parts.ligands if config.split == "ligands" else parts.targets)
        if not chosen:
            folders = ", ".join(map(str, config.data))
            message = f"no complex of the split '{config.split}' in {folders}"
            raise mistake("data", message, "give the training data and the lists of the training run")
    if config.limit is not None and config.limit < len(chosen):
        kept = np.random.default_rng(config.seed).permutation(len(chosen))[: config.limit]
        chosen = [chosen[i] for i in sorted(kept)]
    usable, refused = model.prepare(chosen)
    print_reading(usable, [*problems, *refused], log)
    if not usable:
        raise InputError(refused[0])
    return usable


def best_of(rows: Sequence[Row]) -> Row:
    """The row with the most poses within 2 Å; the lower median RMSD decides between equals."""
    return max(rows, key=lambda row: (row.success_2A, -row.median_rmsd))


def print_table(rows: Sequence[Row], poses: int, title: str, console: Console) -> None:
    """One line a sampler; percentages of all poses, and of complexes for the best of N."""
    table = Table(title=title, box=SIMPLE)
    best = f"best of {poses} < 2 Å"
    for heading in ("sampler", "c", "< 2 Å", "95%", best, "95%", "distinct", "< 5 Å", "median Å", "ms a pose"):
        table.add_column(heading, justify="left" if heading == "sampler" else "right", no_wrap=heading == "sampler")
    for row in rows:
        two, most = (
            (f"{rate:.1%}", f"{100 * low:.0f}-{100 * high:.0f}")
            for rate, (low, high) in (
                (row.success_2A, row.success_2A_interval),
                (row.best_2A, row.best_2A_interval),
            )
        )
        figures = (f"{row.distinct:.1f}", f"{row.success_5A:.1%}", f"{row.median_rmsd:.2f}", f"{row.ms_per_pose:.0f}")
        table.add_row(row.sampler, f"{row.score_scale:g}", *two, *most, *figures)
    console.print(table)
    if failed := sum(row.failed for row in rows):
        console.print(f"{failed} poses are not finite; they count as misses", highlight=False)


def page() -> Console:
    """Standard output, wide enough for the table where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=_PAGE)


def check_store(config: ValidationOptions, what: str) -> None:
    """Refuse --store where the choice would not be one, or cannot be written.

    Raises:
        InputError: naming the option.
    """
    if config.split != "ligands":
        raise mistake("store", f"the split is '{config.split}'", f"{what} chosen on --split ligands")
    folder = find_weights(config.weights).parent
    if not os.access(folder, os.W_OK):
        raise mistake("store", f"cannot write in {folder}", "copy the weights elsewhere")


def split_name(config: ValidationOptions) -> str:
    """What tables call it, with how it was read where that is not as usual."""
    split = "embedded (in-sample)" if config.split == "embedded" else f"validation {config.split}"
    pocket = "" if config.pocket == "ligand" else f", pocket {config.pocket}"
    return f"{split}{pocket}" + ("" if config.conformer == "input" else f", conformers {config.conformer}")


def run_choice(options: type[Chosen], main: Callable[[Chosen], None], about: str | None, words: Words = None) -> None:
    """The command line of `main`; exits with status 2 and one line for a mistake of the user."""
    try:
        main(tyro.cli(options, description=about, args=words))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
