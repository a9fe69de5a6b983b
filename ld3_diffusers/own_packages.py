"""Calls of ours from programs that have a folder `domains` of their own."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Final

_FOLDER: Final = Path(__file__).resolve().parents[1]
_NAME: Final = "domains"
_ours: dict[str, ModuleType] = {}


def call_of(module: str, name: str) -> Callable[..., object]:
    """What `module` calls `name`, a function; while it runs, `domains` is ours in this process, whatever it was before
    and is afterwards. Not for two threads at once.
    """
    with own_packages():
        function: Callable[..., object] = getattr(import_module(module), name)

    @functools.wraps(function)
    def run(*arguments: object, **options: object) -> object:
        with own_packages():
            return function(*arguments, **options)

    return run


@contextmanager
def own_packages() -> Iterator[None]:
    """Within it, `import domains` gives ours; modules of another package of that name are there again afterwards."""
    if _is_ours():
        yield
        return
    theirs = _take_out()
    sys.modules.update(_ours)
    sys.path.insert(0, str(_FOLDER))
    try:
        yield
    finally:
        sys.path.remove(str(_FOLDER))
        _ours.update(_take_out())
        sys.modules.update(theirs)


def _is_ours() -> bool:
    """Whether `import domains` gives ours as it is."""
    try:
        spec = find_spec(_NAME)
    except (ImportError, ValueError):  # a module that was made by hand has none
        return False
    if spec is None:
        return False
    return any(Path(place).resolve() == _FOLDER / _NAME for place in spec.submodule_search_locations or ())


def _take_out() -> dict[str, ModuleType]:
    names = [name for name in sys.modules if name == _NAME or name.startswith(f"{_NAME}.")]
    return {name: sys.modules.pop(name) for name in names}
