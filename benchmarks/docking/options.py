"""What the docking benchmark can be told, and what it refuses before it computes anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from benchmarks.common.options import check_nfe, find_device, mistake, prepare_folder
from domains.docking.networks.weights import DEMO_WEIGHTS
from domains.docking.settings import FIT_POSES, SOLVER, TEACHER, poses_at_once
from domains.docking.structures.pocket import PocketChoice
from ld3.solvers import Solver, get_solver

_LARGEST_SEED = 2**31 - 1  # RDKit's


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    nfe: tuple[int, ...] = (10,)
    """network evaluations a pose; several numbers make a sweep"""
    complexes: Path | None = None
    """folder with NAME/protein.pdb and NAME/ligands.sdf, or a CSV in DiffDock's format; without it, the four crystal
    complexes of the posebusters package, which the demo weights have seen"""
    only: Path | None = None
    """list of names, one a line, as domains/docking/splits/ has them: the complexes (NAME/LIGAND) or all ligands of a
    protein (NAME) to dock; the others are left out"""
    solver: str = SOLVER
    """of the learned and the hand-made grids: a name of ld3.solvers"""
    samples: int = 32
    """poses a complex"""
    seed: int = 0
    """of all random numbers"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    out: Path = Path("out/docking")
    """folder for the results; a run that was interrupted there goes on"""
    weights: Path = DEMO_WEIGHTS
    """safetensors file written by domains.docking.train"""
    pocket: str = "ligand"
    """where to dock: ligand, ligand:RADIUS, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å)"""
    score_scale: float | None = None
    """c, to follow p^c; without it, what the weights file says"""
    conformer: Literal["input", "rdkit"] = "input"
    """bond lengths, angles and rings of the input file, or of a fresh RDKit conformer"""
    grid: tuple[Path, ...] = ()
    """learned grids saved by an earlier run, one for each NFE, instead of fits"""
    teacher_nfe: int = TEACHER.nfe
    """network evaluations a pose of the teacher"""
    fit_poses: int = FIT_POSES
    """teacher poses that a fit may see, none of which is evaluated"""
    posebusters: int = 32
    """poses of each method whose validity is checked, spread over the complexes; 0 = none"""


@dataclass(frozen=True)
class Choices:
    """Options that were read and found possible."""

    options: Options
    solver: Solver
    pocket: PocketChoice
    device: torch.device

    @property
    def poses_at_once(self) -> int:
        """How many poses to solve side by side."""
        return poses_at_once(self.device)


def check(options: Options) -> Choices:
    """Read the options, and make the output folder.

    Raises:
        InputError: naming the option, what is wrong with it, and the remedy.
    """
    for name, least in (("samples", 1), ("seed", 0), ("fit_poses", 2), ("posebusters", 0)):
        value = getattr(options, name)
        if value < least:
            raise mistake(name, f"got {value}", f"give a number >= {least}")
    if options.seed > _LARGEST_SEED:
        raise mistake("seed", f"got {options.seed}", f"give a number up to {_LARGEST_SEED}")
    if options.score_scale is not None and not 0 < options.score_scale < float("inf"):
        raise mistake("score_scale", f"got {options.score_scale}", "give a positive number")
    try:
        solver = get_solver(options.solver)
    except ValueError as error:
        raise mistake("solver", str(error), "choose one of these") from error
    check_nfe("nfe", options.nfe, solver)
    check_nfe("teacher_nfe", (options.teacher_nfe,), get_solver(TEACHER.solver))
    try:
        pocket = PocketChoice.parse(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    choices = Choices(options, solver, pocket, find_device(options.device))
    prepare_folder(options.out)
    return choices
