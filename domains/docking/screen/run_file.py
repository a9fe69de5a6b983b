"""run.json of a screen: what its results depend on, so that a second start goes on or is refused; and its lock."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from domains.errors import InputError, InputProblem

FILE: Final = "run.json"
_SCHEMA: Final = "ld3.docking.screen"


def begin(out: Path, depends_on: Mapping[str, Any]) -> bool:
    """Whether the folder holds an earlier start of the same screen; if it holds none, one begins.

    Raises:
        InputError: if it holds another screen, naming what differs.
    """
    path = out / FILE
    if not path.exists():
        write(out, depends_on, {"complete": False})
        return False
    try:
        found = json.loads(path.read_text())
        earlier = found["depends_on"] if found.get("schema") == _SCHEMA else None
    except (ValueError, KeyError, AttributeError):
        earlier = None
    if earlier is None:
        raise InputError(InputProblem(str(path), "", "it is of no screen", "give another --out"))
    plain = json.loads(json.dumps(depends_on))
    differing = [name for name in {**earlier, **plain} if earlier.get(name) != plain.get(name)]
    if differing:
        said = ", ".join(f"{name} was {earlier.get(name)} and is {plain.get(name)}" for name in differing)
        remedy = "give another --out, or the options and files of the screen that is in it"
        raise InputError(InputProblem(str(out), "", f"it holds another screen: {said}", remedy))
    return True


def write(out: Path, depends_on: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all."""
    content = {"schema": _SCHEMA, "version": 1, "depends_on": dict(depends_on), **about}
    partial = out / f"{FILE}.part"
    partial.write_text(json.dumps(content, indent=2, allow_nan=False))
    partial.replace(out / FILE)


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
            raise InputError(InputProblem(str(out), "", "another screen is at work in it", remedy)) from error
        yield
    finally:
        os.close(descriptor)
