"""Reads pickles without running them.

A pickle is a program: it names functions and has them called. Here every name stands for an inert record that only
remembers what it was called with, except for a handful of functions that put tensors together. The source code that
these pickles carry is never looked at.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

_PERSISTENT: Final = ("torch_utils.persistence", "_reconstruct_persistent_obj")


class Record:
    """What stands for an object of a class that is not to be run: its name, arguments, state and items."""

    name = ""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None
        self.items: list[object] = []

    def __new__(cls, *arguments: object, **named: object) -> Record:
        """Pickles make objects without initialising them."""
        record = super().__new__(cls)
        Record.__init__(record, *arguments)
        return record

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        self.items.append((key, value))

    def append(self, value: object) -> None:
        """As a pickle fills a list."""
        self.items.append(value)

    def extend(self, values: list[object]) -> None:
        """As a pickle fills a list with several."""
        self.items.extend(values)


@final
class NetworkPickle(pickle.Unpickler):
    """An unpickler that finds no class but inert ones."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - what the base class says
        """A stand-in for whatever the pickle names."""
        harmless = _HARMLESS.get((module, name))
        return harmless if harmless is not None else type("Record", (Record,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: object) -> object:
        """Pickles of modules have no outside parts."""
        raise pickle.UnpicklingError("it refers to objects outside of it")


def read_pickle(path: Path) -> Mapping[object, object]:
    """The dictionary in a pickle, classes replaced by records.

    Raises:
        ValueError: in one line, naming the file, if it is no such pickle.
    """
    try:
        with path.open("rb") as file:
            content = NetworkPickle(file).load()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a damaged pickle fails in whichever way its next instruction fails
        cause = str(error).partition("\n")[0]
        raise ValueError(f"{path} is no pickle of a network: {type(error).__name__}: {cause}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"{path} is no pickle of a network: it holds a {type(content).__name__}, not a dictionary")
    return content


def tensors_of(module: Mapping[str, Any], prefix: str = "") -> dict[str, Tensor]:
    """Parameters and buffers of a module's record by their names, as `state_dict` has them.

    Raises:
        ValueError: naming the attribute that is not what a module has.
    """
    found: dict[str, Tensor] = {}
    hidden = module.get("_non_persistent_buffers_set", set())
    if not isinstance(hidden, set):
        raise ValueError(f"{prefix}_non_persistent_buffers_set must be a set, got {type(hidden).__name__}")
    for part in ("_parameters", "_buffers"):
        for name, value in table_of(module, part, prefix).items():
            if isinstance(value, Tensor) and name not in hidden:
                found[prefix + name] = value.detach()
    for name, child in table_of(module, "_modules", prefix).items():
        state = attributes(child)
        if state is not None:
            found |= tensors_of(state, f"{prefix}{name}.")
    return found


def table_of(module: Mapping[str, Any], name: str, prefix: str = "") -> Mapping[str, Any]:
    """The dictionary that a module's record calls `name`; empty if it has none.

    Raises:
        ValueError: if it is something else, or not all of its keys are text.
    """
    value = module.get(name, {})
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        kind = "other keys" if isinstance(value, Mapping) else type(value).__name__
        raise ValueError(f"{prefix}{name} must be a dictionary with names as keys, got {kind}")
    return value


def attributes(record: object) -> Mapping[str, Any] | None:
    """The attributes of a record of an object, or None where it is none."""
    state = record.state if isinstance(record, Record) else None
    return state if isinstance(state, Mapping) else None


def _persistent(meta: Mapping[str, Any]) -> Record:
    """A record of an object that carries its own source; the source stays unread."""
    record = type("Record", (Record,), {"name": str(meta["class_name"])})()
    record.state = meta["state"]
    return record


def _storage(data: bytes) -> Any:  # noqa: ANN401 - a storage, of which torch has several untyped kinds
    """A storage, from bytes that are themselves a pickle, which torch reads with its own list of harmless names."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _parameter(data: Tensor, requires_grad: bool, hooks: object) -> Tensor:
    return data


def _tensor(
    storage: Any,  # noqa: ANN401
    offset: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    requires_grad: bool,
    hooks: object,
    metadata: object = None,
) -> Tensor:
    return torch._utils._rebuild_tensor(storage, offset, size, stride)


def _encode(text: str, encoding: str) -> bytes:
    """How old protocols write bytes."""
    return text.encode("latin1")


_HARMLESS: Final[Mapping[tuple[str, str], Any]] = {
    _PERSISTENT: _persistent,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch.storage", "_load_from_bytes"): _storage,
    ("collections", "OrderedDict"): OrderedDict,
    ("dnnlib.util", "EasyDict"): dict,
    ("builtins", "set"): set,
    ("_codecs", "encode"): _encode,
}
"""(module, name) in a pickle -> what is called instead."""
