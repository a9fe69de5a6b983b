"""Which ligand came first where: on disk, so that memory does not grow with the library."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import final


@final
class Seen:
    """The row in which each ligand first occurs, in an SQLite file.

    Chunks are entered in their order, each in one transaction. What was entered before a crash is what would be entered
    again, so the file may be ahead of the results and never contradicts them.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS first (key BLOB PRIMARY KEY, row INTEGER) WITHOUT ROWID")
        self._database.execute("CREATE TABLE IF NOT EXISTS entered (chunk INTEGER PRIMARY KEY)")
        self._database.commit()

    def __enter__(self) -> Seen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def has(self, chunk: int) -> bool:
        """Whether a chunk was entered."""
        found = self._database.execute("SELECT 1 FROM entered WHERE chunk = ?", (chunk,)).fetchone()
        return found is not None

    def enter(self, chunk: int, ligands: Sequence[tuple[bytes, int]]) -> list[int]:
        """Enter the (key, row) of a chunk's ligands; for each the row in which it occurs first."""
        with self._database:
            self._database.executemany("INSERT OR IGNORE INTO first VALUES (?, ?)", ligands)
            self._database.execute("INSERT OR IGNORE INTO entered VALUES (?)", (chunk,))
        return [
            int(self._database.execute("SELECT row FROM first WHERE key = ?", (key,)).fetchone()[0])
            for key, _ in ligands
        ]
