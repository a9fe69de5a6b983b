"""A folder of results belongs to one run at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domains.errors import InputError, InputProblem


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Nobody else may work in the folder; the lock ends with the process, however it ends.

    Raises:
        InputError: if somebody does, or the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(out / ".lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        remedy = "give a folder that you may write to"
        raise InputError(InputProblem("--out", "", f"cannot write to {out} ({error.strerror})", remedy)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            remedy = "wait for it, or give another --out"
            raise InputError(InputProblem(str(out), "", "another run is at work in it", remedy)) from error
        yield
    finally:
        os.close(descriptor)
