"""What a solver moves, and the two kinds of mapping that say how.

A state is a tensor, or a `NamedTuple` of tensors, whose every tensor has the batch as its leading dimension. Conditions
that differ between samples (which class, which receptor) are fields of the state; what all samples share belongs to the
flow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

State = TypeVar("State", bound="Tensor | tuple[Tensor, ...]")

Tangent = Mapping[str, Tensor]
"""Factor -> displacement vectors in a fixed frame, batch leading."""

Levels = Mapping[str, Tensor]
"""Factor -> λ, the half log-SNR log(α/σ) in float64: shape () at a node, (N+1,) along a grid."""


def tensors(x: Tensor | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The tensors of a state by field name; a bare tensor is called "x".

    Raises:
        TypeError: if `x` is neither a tensor nor a NamedTuple.
    """
    if isinstance(x, Tensor):
        return {"x": x}
    if not hasattr(x, "_fields"):
        raise TypeError(f"x must be a Tensor or a NamedTuple of tensors, got {type(x).__name__}")
    return dict(zip(x._fields, x, strict=True))


def rebuild(like: State, fields: Mapping[str, Tensor]) -> State:
    """The inverse of `tensors`: a state of the type of `like` made of `fields`.

    Raises:
        ValueError: if the names differ from those of `like`.
    """
    names = tensors(like).keys()
    if fields.keys() != names:
        raise ValueError(f"fields must be named {sorted(names)}, got {sorted(fields)}")
    return cast("State", fields["x"] if isinstance(like, Tensor) else type(like)(**fields))


def size(x: Tensor | tuple[Tensor, ...]) -> int:
    """The number of samples in a state.

    Raises:
        ValueError: if its tensors disagree.
    """
    sizes = {name: len(value) for name, value in tensors(x).items()}
    if len(set(sizes.values())) != 1:
        raise ValueError(f"x must have one leading (batch) dimension in all its tensors, got {sizes}")
    return next(iter(sizes.values()))


def take(x: State, index: Tensor | Sequence[int] | slice) -> State:
    """The samples at `index` (integers, a boolean mask or a slice), in that order."""
    index = torch.as_tensor(index) if isinstance(index, Sequence) else index
    return rebuild(x, {name: value[index] for name, value in tensors(x).items()})


def cat(states: Sequence[State]) -> State:
    """The samples of all `states`, one after the other.

    Raises:
        ValueError: if there is no state.
    """
    if len(states) == 0:
        raise ValueError("states must hold at least one state, got none")
    columns = [tensors(x) for x in states]
    return rebuild(states[0], {name: torch.cat([c[name] for c in columns]) for name in columns[0]})
