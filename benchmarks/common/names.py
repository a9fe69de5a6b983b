"""Names of methods that every benchmark has."""

from __future__ import annotations

from typing import Final

TEACHER_ROW: Final = "teacher"
LEARNED: Final = "learned"
