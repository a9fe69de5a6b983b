"""A short hash of what a result depends on, so that a cache can tell whether it still holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

import torch
from torch import Tensor, nn


def fingerprint(*parts: object) -> str:
    """16 hexadecimal digits that change with any number, name or weight in `parts`.

    Accepts tensors, modules (parameters, buffers, and for every module inside its class and public attributes, such as
    sizes, numbers of heads and activations), dataclasses, mappings, sequences, and plain values (str, bytes, int,
    float, bool, None, dtype, device). Code is not hashed: two classes of the same name look alike, and so do two
    functions that modules hold.

    Raises:
        TypeError: naming the type of a part that has no stable content.
    """
    digest = hashlib.sha256()
    for part in parts:
        _update(digest, part)
    return digest.hexdigest()[:16]


def _update(digest: hashlib._Hash, part: object) -> None:
    digest.update(f"<{type(part).__qualname__}>".encode())
    if isinstance(part, Tensor):
        value = part.detach().cpu().contiguous()
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    elif isinstance(part, nn.Module):
        _update(digest, {name: _settings(module) for name, module in part.named_modules()})
        _update(digest, part.state_dict())
    elif isinstance(part, Mapping):
        for key in sorted(part, key=str):
            _update(digest, key)
            _update(digest, part[key])
    elif is_dataclass(part) and not isinstance(part, type):
        for field in fields(part):
            _update(digest, getattr(part, field.name))
    elif part is None or isinstance(part, str | bytes | int | float | torch.dtype | torch.device):
        digest.update(repr(part).encode())
    elif isinstance(part, Sequence):
        for item in part:
            _update(digest, item)
    else:
        raise TypeError(
            f"cannot fingerprint a {type(part).__qualname__}: write fingerprint() for the flow that holds it"
        )
    digest.update(b";")


def _settings(module: nn.Module) -> dict[str, str]:
    """What makes this module another function of its weights; of parts without stable content their names."""
    found = {"class": type(module).__qualname__}
    for name, value in vars(module).items():
        if not name.startswith("_"):
            try:
                found[name] = fingerprint(value)
            except TypeError:
                found[name] = getattr(value, "__qualname__", type(value).__qualname__)
    return found
