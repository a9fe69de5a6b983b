"""Options of the docking benchmark, and what it refuses before it computes anything."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch

from benchmarks.common.comparison import LEARNED, SHIPPED, TEACHER_ROW
from benchmarks.common.tables import portable
from benchmarks.docking.methods import DIFFDOCK
from domains.docking.networks.shipped import GENERAL
from domains.docking.settings import FIT, FIT_POSES, SOLVER, TEACHER
from domains.docking.structures.complexes import Conformer
from domains.docking.structures.pocket_files import read_pocket_choice
from domains.options import check_nfe, check_numbers, find_device, find_solver, mistake, prepare_folder
from ld3.grids import HAND_MADE
from ld3.solvers import Solver, get_solver

_LARGEST_SEED = 2**31 - 1  # RDKit's


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    nfe: tuple[int, ...] = (10,)
    """network evaluations a pose; several numbers make a sweep"""
    complexes: Path | None = None
    """folder with NAME/protein.pdb and NAME/ligands.sdf, or a CSV in DiffDock's format; without it, the four crystal
    complexes of the posebusters package, which the demo weights have seen and the general ones have not"""
    only: Path | None = None
    """list of names, one a line, as domains/docking/splits/ has them: the complexes (NAME/LIGAND) or all ligands of a
    protein (NAME) to dock; the others are left out"""
    known_poses: bool = False
    """the ligand files hold bound poses, to which RMSDs are taken; said already where the pocket is put around them"""
    solver: str = SOLVER
    """of all grids: a name of ld3.solvers; grids are shipped for the default"""
    samples: int = 32
    """poses a complex"""
    seed: int = 0
    """of all random numbers"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    out: Path = Path("out/docking")
    """folder for the results; a run that was interrupted there goes on"""
    weights: Path = GENERAL
    """general or demo, which come with the toolkit, a file of domains.docking.train, or a DiffDock release"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the network's matrix products (autocast); geometry and solver keep float32"""
    pocket: str = "ligand"
    """where to dock: ligand, ligand:RADIUS, point-of-ligand (within 12 Å of the mean of its atoms),
    point-of-ligand:RADIUS, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å)"""
    template: tuple[str, ...] = ()
    """SMILES of ligands whose bond orders are lost in their files"""
    drop: tuple[str, ...] = ()
    """molecules of the protein files to leave out: names of residues (LIG), places (A:301), or all-ligands"""
    keep: tuple[str, ...] = ()
    """molecules to keep; without either, those bound in a pocket that is not put around the ligand are left out"""
    score_scale: float | None = None
    """c, by which the score is multiplied: more than 1 seeks modes; without it, what the weights file says"""
    conformer: Conformer = "input"
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    fit: bool = False
    """also fit grids to these complexes, from the shipped ones: rows called 'learned'"""
    grid: tuple[Path, ...] = ()
    """grids that an earlier run fitted, one for each NFE, instead of new fits"""
    teacher_nfe: int = TEACHER.nfe
    """network evaluations a pose of the teacher"""
    fit_poses: int = FIT_POSES
    """teacher poses that a fit may see, none of which is evaluated"""
    fit_steps: int = FIT.steps
    """gradient steps of a fit"""
    posebusters: int = 96
    """poses of each method whose validity is checked, spread over the complexes; 0 = none"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train; intervals are then over clusters"""
    first: tuple[str, ...] = ()
    """methods (shipped, edm, diffdock_sde, ...) whose poses are refined and ranked as ld3 dock ships, for a second
    table: how often the first pose is within 2 Å, and PoseBusters-valid as well"""
    vina: bool = False
    """a row for AutoDock Vina in that table: exhaustiveness 8, same proteins, conformers and pockets (extra vina)"""
    standard: bool = False
    """the setting for claims: --pocket point-of-ligand --conformer rdkit --first shipped edm, ten poses a complex"""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=portable))
        return found


STANDARD: Final[Mapping[str, Any]] = {
    "pocket": "point-of-ligand",
    "conformer": "rdkit",
    "samples": 10,
    "first": ("shipped", "edm"),
}
"""Option -> its value in the setting for claims."""


def standard(options: Options) -> Options:
    """The options in the setting for claims; more --first may be asked for.

    Raises:
        InputError: if one of them was given another value.
    """
    usual = Options()
    for name, value in STANDARD.items():
        if name != "first" and getattr(options, name) not in (getattr(usual, name), value):
            raise mistake(name, f"got {getattr(options, name)}, and --standard means {value}", "leave out one of them")
    return replace(options, **{**STANDARD, "first": (*dict.fromkeys((*STANDARD["first"], *options.first)),)})


def _check_first(options: Options) -> None:
    known = (SHIPPED, LEARNED, TEACHER_ROW, *DIFFDOCK, *HAND_MADE)
    if unknown := [name for name in options.first if name not in known]:
        raise mistake("first", f"there is no method {unknown[0]}", f"choose from {', '.join(known)}")
    if options.vina and importlib.util.find_spec("vina") is None:
        raise mistake("vina", "the package vina is not installed", "pip install '.[vina]' here, or leave it out")


@dataclass(frozen=True)
class Choices:
    """Options that were read and found possible."""

    options: Options
    solver: Solver
    device: torch.device


def check(options: Options) -> Choices:
    """Read the options, and make the output folder.

    Raises:
        InputError: naming the option, what is wrong with it, and the remedy.
    """
    check_numbers(options, {"samples": 1, "seed": 0, "fit_poses": 2, "fit_steps": 0, "posebusters": 0})
    if options.seed > _LARGEST_SEED:
        raise mistake("seed", f"got {options.seed}", f"give a number up to {_LARGEST_SEED}")
    if options.score_scale is not None and not 0 < options.score_scale < float("inf"):
        raise mistake("score_scale", f"got {options.score_scale}", "give a positive number")
    if options.fit and options.grid:
        raise mistake("fit", "grids that are fitted already were given as well", "leave out --fit or --grid")
    options = standard(options) if options.standard else options
    _check_first(options)
    solver = find_solver(options.solver)
    check_nfe("nfe", options.nfe, solver)
    check_nfe("teacher_nfe", (options.teacher_nfe,), get_solver(TEACHER.solver))
    try:
        read_pocket_choice(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    choices = Choices(options, solver, find_device(options.device))
    prepare_folder(options.out)
    return choices
