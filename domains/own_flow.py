"""Finds a flow that a user has written: `my_module:MyFlow`, or `file.py:MyFlow`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from domains.errors import InputError
from domains.options import mistake
from ld3.flow import ProbabilityFlow

_OURS: Final = ("domains", "ld3", "ld3_diffusers", "ld3_command")
_FORM: Final = "give my_module:MyFlow, or file.py:MyFlow"


def load_flow(name: str) -> ProbabilityFlow[Any]:
    """The flow called `name`.

    Args:
        name: "module:attribute" or "file.py:attribute". Modules are found from the working directory, a file's own
            imports from its folder as well. The attribute is a class or a function that is called without arguments,
            or a flow.

    Raises:
        InputError: if there is no such module or attribute, it fails, or is no flow.
    """
    place, separator, attribute = name.rpartition(":")
    if not separator or not place or not attribute:
        raise mistake("flow", f"got {name!r}", _FORM)
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    found = getattr(module, attribute, None)
    if found is None:
        kinds = ", ".join(_flows(module)) or "none"
        raise mistake("flow", f"{place} has no {attribute}", f"name a flow; the classes of flows in it are: {kinds}")
    if not isinstance(found, ProbabilityFlow) and callable(found):
        try:
            found = found()
        except Exception as error:
            raise mistake("flow", f"{attribute}() fails: {_last(error)}", "it is called without arguments") from error
    if not isinstance(found, ProbabilityFlow):
        raise mistake("flow", f"{attribute} is a {type(found).__name__}, no flow", "see docs/new_domains.md")
    return found


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise mistake("flow", f"there is no file {path}", _FORM)
    _search(path.parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _module(name: str) -> ModuleType:
    _search(Path.cwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise _broken(name, error) from error


def _search(folder: Path) -> None:
    """First, as Python has it for a program in that folder. Our own packages have been imported by then."""
    sys.path.insert(0, str(folder.resolve()))


def _broken(place: str, error: Exception) -> InputError:
    missing = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    if missing == place:
        return mistake("flow", f"there is no module {place} in {Path.cwd()} or among what is installed", _FORM)
    package = missing.partition(".")[0]
    if package in _OURS:
        remedy = f"{package} is a package of ld3: give yours another name, or import from the file without it"
        return mistake("flow", f"{place} imports {missing}, which is not there", remedy)
    return mistake("flow", f"{place} cannot be imported: {_last(error)}", "mend it")


def _last(error: Exception) -> str:
    """What was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _flows(module: ModuleType) -> list[str]:
    return sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, ProbabilityFlow) and value.__module__ == module.__name__
    )
