"""Progress where output is no terminal: a plain line every 30 seconds, with stage, share, rate and time left."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from domains.progress import WorkProgress


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_plain_line_every_30_seconds() -> None:
    clock, said = Clock(), io.StringIO()
    timings: dict[str, float] = {}
    with WorkProgress(Console(file=said, width=40), {"teacher": 1000, "edm": 1000}, timings, clock=clock) as progress:
        with progress.stage("teacher"):
            for _ in range(10):  # 100 evaluations in 10 seconds
                clock.now += 10
                progress.evaluated(100)
        lines = said.getvalue().splitlines()
        assert len(lines) == 3
        assert lines[0] == "teacher: 15% of all work, 10 NFE/s, 0:02:50 left"
        assert lines[2].startswith("teacher: 45% of all work, 10 NFE/s, 0:01:")
        with progress.stage("edm"):
            follow = progress.follow()
            clock.now += 30
            follow(150, 500)
    assert said.getvalue().splitlines()[3].startswith("edm: 77% of all work, ")
    assert timings == {"teacher": 100.0, "edm": 30.0}
    assert progress.rate == pytest.approx(1150 / 130)


def test_slow_work_has_a_rate_with_digits() -> None:
    clock, said = Clock(), io.StringIO()
    console = Console(file=said, width=60)
    with WorkProgress(console, {"train": 100}, clock=clock, unit="steps") as progress, progress.stage("train"):
        clock.now += 32
        progress.evaluated(12)
    assert said.getvalue().startswith("train: 12% of all work, 0.38 steps/s")


def test_short_work_says_nothing() -> None:
    clock, said = Clock(), io.StringIO()
    with WorkProgress(Console(file=said), {"all": 10}, clock=clock) as progress, progress.stage("all"):
        clock.now += 29
        progress.evaluated(10)
    assert said.getvalue() == ""


def test_a_rate_without_a_unit_is_not_shown() -> None:
    clock, said = Clock(), io.StringIO()
    with WorkProgress(Console(file=said), {"all": 100}, unit="", clock=clock) as progress, progress.stage("all"):
        clock.now += 30
        progress.evaluated(50)
    assert said.getvalue().startswith("all: 50% of all work, time left")
