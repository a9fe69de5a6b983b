"""Classifier-free guidance."""

from __future__ import annotations

from torch import Tensor


def guided(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """Ho & Salimans, arXiv 2207.12598: u + w (c - u); w = 1 is the conditional answer c."""
    return unconditional + scale * (conditional - unconditional)
