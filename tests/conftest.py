"""Where the tests' files are."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SERIES = Path(__file__).parents[2] / "shared" / "data" / "fep_plus"


def data(name: str) -> Path:
    """A file of tests/data, whose README says where it comes from."""
    return DATA / name


def fep_plus(series: str) -> Path:
    """A series of the public FEP+ benchmark, or a skip: whole complexes are too large for the repository."""
    if not (SERIES / series).is_dir():
        pytest.skip(f"the FEP+ series {series} is not beside the repository, in shared/data/fep_plus")
    return SERIES / series


def shared(path: str) -> Path:
    """A reference file that lives outside the repository; the test that asks for a missing one is skipped."""
    if not (SERIES.parents[1] / path).exists():
        pytest.skip(f"reference file shared/{path} is not here")
    return SERIES.parents[1] / path
