"""Where the tests' files are."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"


def data(name: str) -> Path:
    """A file of tests/data, whose README says where it comes from."""
    return DATA / name


def shared(path: str) -> Path:
    """What is too large for the repository (series of complexes, networks): beside it, or the test is skipped."""
    if not (SHARED / path).exists():
        pytest.skip(f"shared/{path} is not beside the repository")
    return SHARED / path
