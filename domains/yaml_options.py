"""Read a frozen dataclass of options from a YAML file, with every type checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from domains.errors import InputError, InputProblem

T = TypeVar("T")


def read_options(kind: type[T], path: Path, missing: Any = MISSING) -> T:  # noqa: ANN401
    """The dataclass `kind` with the values in `path`: keys are its fields, maps are dataclasses, lists are tuples.

    Args:
        kind: a dataclass. Fields that the file lacks keep their defaults.
        path: of the file.
        missing: what stands for a field of `kind` that has no default and is not in the file; without it, such a file
            is refused.

    Raises:
        InputError: naming the file and the key, for a file that cannot be read, a key that is unknown or missing, a
            value of another type, and a value that the dataclass refuses.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if missing is not MISSING and isinstance(content, Mapping):
            absent = [field.name for field in fields(kind) if _required(field) and field.name not in content]  # type: ignore[arg-type]
            return kind(**_values(kind, content, ""), **dict.fromkeys(absent, missing))
        found: T = _typed(kind, content, "")
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, ValueError) as error:
        message = " ".join(str(error).split())
        raise InputError(InputProblem(str(path), "", message, "correct the file")) from error
    return found


def _values(kind: Any, content: Any, where: str) -> dict[str, Any]:  # noqa: ANN401
    """The arguments of the dataclass `kind`."""
    if not isinstance(content, Mapping):
        raise TypeError(f"{where or 'the file'} must hold keys with values, got {content!r}")
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if unknown := [key for key in content if key not in names]:
        raise ValueError(f"{_key(where, unknown[0])} is unknown, known are {', '.join(names)}")
    return {key: _typed(hints[key], value, _key(where, key)) for key, value in content.items()}


def _typed(kind: Any, value: Any, where: str) -> Any:  # noqa: ANN401
    """`value`, as YAML has it, as an object of type `kind`."""
    parts, origin = get_args(kind), get_origin(kind)
    if is_dataclass(kind):
        values = _values(kind, value, where)
        if absent := [field.name for field in fields(kind) if _required(field) and field.name not in values]:
            raise ValueError(f"{_key(where, absent[0])} is missing")
        return kind(**values)  # type: ignore[operator]
    if origin in (Union, UnionType):
        for part in parts:
            try:
                return _typed(part, value, where)
            except (TypeError, ValueError):
                continue
    elif origin is tuple and isinstance(value, list):
        kinds = [parts[0]] * len(value) if parts[-1] is ... else list(parts)
        if len(kinds) == len(value):
            both = enumerate(zip(kinds, value, strict=True))
            return tuple(_typed(part, own, f"{where}[{i}]") for i, (part, own) in both)
    elif origin is Literal and value in parts:
        return value
    elif isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, Mapping):
        return {_typed(parts[0], key, where): _typed(parts[1], own, _key(where, key)) for key, own in value.items()}
    elif kind is Any or (kind in (None, NoneType) and value is None):
        return value
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif kind is float and isinstance(value, int | float | str) and not isinstance(value, bool):
        return float(value)  # YAML takes 1e-5, which has no point, for text
    elif isinstance(kind, type) and type(value) is kind:
        return value
    raise TypeError(f"{where} must be {getattr(kind, '__name__', kind)}, got {value!r}")


def _key(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING
