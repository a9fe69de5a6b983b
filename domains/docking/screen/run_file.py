"""run.json of a screen: what its results depend on, so that a second start goes on or is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
