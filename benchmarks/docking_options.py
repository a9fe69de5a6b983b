"""What the docking benchmark can be told, and what it refuses before it computes anything."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from domains.docking.pocket import PocketChoice
from domains.docking.settings import FIT_POSES, SOLVER, TEACHER, poses_at_once
from domains.docking.weights import DEMO_WEIGHTS
from domains.errors import InputError, InputProblem
from ld3.clock import Clock
from ld3.learn import FitResult
from ld3.solvers import Solver, get_solver

_LARGEST_SEED = 2**31 - 1  # RDKit's
_SAME_LEVEL = 1e-6  # of λ, when the ends of a saved grid are compared with those of the clock


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
    sharpness: float | None = None
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
    if options.sharpness is not None and not 0 < options.sharpness < float("inf"):
        raise mistake("sharpness", f"got {options.sharpness}", "give a positive number")
    try:
        solver = get_solver(options.solver)
    except ValueError as error:
        raise mistake("solver", str(error), "choose one of these") from error
    _check_nfe("nfe", options.nfe, solver)
    _check_nfe("teacher_nfe", (options.teacher_nfe,), get_solver(TEACHER.solver))
    try:
        pocket = PocketChoice.parse(options.pocket)
    except ValueError as error:
        raise mistake("pocket", str(error), "choose one of these") from error
    choices = Choices(options, solver, pocket, _device(options.device))
    _check_out(options.out)
    return choices


def mistake(option: str, message: str, remedy: str) -> InputError:
    """The error for a value of an option."""
    return InputError(InputProblem(f"--{option.replace('_', '-')}", "", message, remedy))


def _check_nfe(option: str, numbers: tuple[int, ...], solver: Solver) -> None:
    if not numbers:
        raise mistake(option, "no number was given", "give at least one, such as --nfe 5 10")
    if len(set(numbers)) < len(numbers):
        raise mistake(option, f"got a number twice in {' '.join(map(str, numbers))}", "give every number once")
    for nfe in numbers:
        try:
            solver.steps(nfe)
        except ValueError as error:
            raise mistake(option, str(error), f"give numbers that {solver.name} can spend") from error


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise mistake(
            "device", f"'{name}' cannot be used ({reason})", "use cpu, or cuda where there is a GPU"
        ) from error
    return device


def _check_out(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out):
            pass
    except OSError as error:
        raise mistake(
            "out", f"cannot write to {out} ({error.strerror})", "give a folder that you may write to"
        ) from error


def saved_grids(options: Options, solver: Solver, clock: Clock) -> Mapping[int, FitResult]:
    """NFE -> the fit that an earlier run saved; empty if none was given.

    Raises:
        InputError: if a file is no saved fit, or one of another solver, NFE, set of factors or noise range.
    """
    fits: dict[int, FitResult] = {}
    for path in options.grid:
        fit = _saved_grid(path, options, solver, clock)
        if fit.nfe in fits:
            raise _unfit(path, f"it is a second grid of {fit.nfe} NFE", "give one for each NFE")
        fits[fit.nfe] = fit
    if fits and (missing := [nfe for nfe in options.nfe if nfe not in fits]):
        raise mistake("grid", f"none of the files is a grid of {missing[0]} NFE", "give one for each number of --nfe")
    return fits


def _saved_grid(path: Path, options: Options, solver: Solver, clock: Clock) -> FitResult:
    again = "fit again without --grid"
    try:
        fit = FitResult.load(path)
    except ValueError as error:
        raise _unfit(path, f"it is no saved fit ({error.__cause__ or error})", again) from error
    if fit.solver != solver.name:
        raise _unfit(path, f"its grid was learned for {fit.solver}, not {solver.name}", f"use --solver {fit.solver}")
    if fit.nfe not in options.nfe:
        asked = " ".join(map(str, options.nfe))
        raise _unfit(path, f"its grid spends {fit.nfe} NFE, and --nfe asks for {asked}", f"use --nfe {fit.nfe}")
    if fit.grid.solver.keys() != clock.schedules.keys():
        factors = f"{', '.join(fit.grid.solver)}; a pose has {', '.join(clock.schedules)}"
        raise _unfit(path, f"its grid is for the factors {factors}", again)
    if fit.grid.n_steps != solver.steps(fit.nfe):
        raise _unfit(path, f"its grid has {fit.grid.n_steps} steps, not {solver.steps(fit.nfe)}", again)
    for factor, ends in clock.bounds.items():
        found = fit.grid.solver[factor][[0, -1]].tolist()
        if any(abs(a - b) > _SAME_LEVEL for a, b in zip(found, ends, strict=True)):
            message = f"its grid runs over another noise range in {factor}: another sharpness or other weights"
            raise _unfit(path, message, "use the --sharpness and --weights that it was learned with")
    return fit


def _unfit(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
