"""What every training run of hours needs: a soft stop, and a log that a continued run does not repeat."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType


def stop_on_signals() -> Callable[[], bool]:
    """Whether a SIGINT or SIGTERM has come since; only the second one kills, for a run can be saved between steps."""
    received: list[int] = []

    def take_note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, take_note)
    return lambda: bool(received)


def append_row(log: Path, row: Mapping[str, object]) -> None:
    """Add a line of JSON."""
    with log.open("a") as file:
        print(json.dumps(row), file=file)


def forget_after(log: Path, step: int) -> None:
    """Drop the rows of the log that a killed run wrote after its last save; they will come again."""
    if log.exists():
        rows = log.read_text().splitlines(keepends=True)
        log.write_text("".join(row for row in rows if json.loads(row)["step"] <= step))
