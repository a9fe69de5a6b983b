"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared"


def shared(path: str) -> Path:
    """A reference file that lives outside the repository; the test that asks for a missing one is skipped."""
    if not (SHARED / path).exists():
        pytest.skip(f"reference file shared/{path} is not here")
    return SHARED / path
