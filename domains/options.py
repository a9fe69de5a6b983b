"""Options that benchmarks share, and what is refused before anything is computed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from domains.errors import InputError, InputProblem
from ld3.solvers import Solver, get_solver


def mistake(option: str, message: str, remedy: str) -> InputError:
    """The error for a value of an option."""
    return InputError(InputProblem(f"--{option.replace('_', '-')}", "", message, remedy))


def check_numbers(options: object, least: Mapping[str, float]) -> None:
    """Refuse options whose value is below what `least` says.

    Raises:
        InputError: naming the option.
    """
    for name, bound in least.items():
        if not (value := getattr(options, name)) >= bound:
            raise mistake(name, f"got {value}", f"give a number >= {bound}")


def find_solver(name: str) -> Solver:
    """The solver of --solver.

    Raises:
        InputError: if there is none of that name.
    """
    try:
        return get_solver(name)
    except ValueError as error:
        raise mistake("solver", str(error), "choose one of these") from error


def check_nfe(option: str, numbers: tuple[int, ...], solver: Solver) -> None:
    """Refuse numbers of evaluations that `solver` cannot spend, no number, and one given twice.

    Raises:
        InputError: naming the option.
    """
    if not numbers:
        raise mistake(option, "no number was given", "give at least one, such as --nfe 5 10")
    if len(set(numbers)) < len(numbers):
        raise mistake(option, f"got a number twice in {' '.join(map(str, numbers))}", "give every number once")
    for nfe in numbers:
        try:
            solver.steps(nfe)
        except ValueError as error:
            raise mistake(option, str(error), f"give numbers that {solver.name} can spend") from error


def find_device(name: str) -> torch.device:
    """The device called `name`, once it has held a tensor.

    Raises:
        InputError: if it cannot.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise mistake(
            "device", f"'{name}' cannot be used ({reason})", "use cpu, or cuda where there is a GPU"
        ) from error
    return device


def check_out(out: Path) -> None:
    """Refuse a file for a fit that is no .json or cannot be written; its folder is made.

    Raises:
        InputError: naming the option.
    """
    if out.suffix != ".json" or out.is_dir():
        raise mistake("out", f"got {out}", "give a .json file")
    prepare_folder(out.parent)


def prepare_folder(out: Path) -> None:
    """Make the output folder, and see that it can be written to.

    Raises:
        InputError: if not.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out):
            pass
    except OSError as error:
        raise mistake(
            "out", f"cannot write to {out} ({error.strerror})", "give a folder that you may write to"
        ) from error
