"""Seeds for the parts of a run."""

from __future__ import annotations

from ld3.fingerprint import fingerprint


def seed_of(seed: int, *purpose: str) -> int:
    """A seed of its own for each purpose, so that no two share their noise."""
    return int(fingerprint(seed, *purpose)[:12], 16)
