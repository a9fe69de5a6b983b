"""How a command ends, also where it cannot go on: one line on standard error, and an exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import torch
from rich.console import Console

from domains.errors import InputError

CANNOT_RUN: Final = 2
INTERRUPTED: Final = 130

FIXED_SIZE: Final = "free some: the size of this job is fixed"

# What torch says where memory is full and the error has no type of its own: main memory, oneDNN's, Apple's GPU.
_FULL: Final = (
    "DefaultCPUAllocator",
    "std::bad_alloc",
    "could not create a memory object",
    "MPS backend out of memory",
)


def run_command(
    work: Callable[[], int],
    log: Console,
    less_memory: str,
    out: Path | None,
    refusals: tuple[type[Exception], ...] = (),
) -> int:
    """The status of `work`; mistakes of the user, full memory and Ctrl-C end it with one line each.

    Args:
        work: the command.
        log: standard error.
        less_memory: what the user can do where memory runs out.
        out: folder in which the same command finds what it has computed; None where nothing is kept.
        refusals: errors besides `InputError` whose message is meant for the user.
    """
    lost = "nothing was kept: give --out"
    refused: tuple[type[Exception], ...] = (InputError, *refusals)
    try:
        return work()
    except refused as error:
        log.print(f"error: {' '.join(str(error).split())}", markup=False)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        kept = lost if out is None else f"what was computed so far is kept in {out}"
        log.print(f"error: memory ran out; {less_memory}; {kept}", markup=False)
    except KeyboardInterrupt:
        kept = lost if out is None else f"the same command goes on from here ({out})"
        log.print(f"stopped; {kept}", markup=False)
        return INTERRUPTED
    return CANNOT_RUN


def out_of_memory(error: Exception) -> bool:
    """Whether this is how torch, or Python, says that memory is full."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(words in str(error) for words in _FULL)
