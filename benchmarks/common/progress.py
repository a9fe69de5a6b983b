"""One progress bar over a whole run: network evaluations, their rate, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SPEED_WINDOW = 60.0  # seconds over which the time left is estimated


@final
class WorkBar:
    """Counts work in network evaluations (one pose once through the network), or what takes as long.

    Args:
        console: where to draw.
        plan: stage -> the work that it is expected to be.
        timings: filled with stage -> seconds, as stages end.
    """

    def __init__(self, console: Console, plan: Mapping[str, float], timings: dict[str, float]) -> None:
        self._plan = dict(plan)
        self._timings = timings
        self._done = 0.0
        self._evaluations = 0
        self._seconds = 0.0
        self._stage = ""
        self._last = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:.0f} NFE/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=_SPEED_WINDOW,
        )
        self._task = self._progress.add_task("", total=sum(self._plan.values()), rate=0.0)

    def __enter__(self) -> WorkBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def rate(self) -> float:
        """Network evaluations per second so far; 0 before the first."""
        return self._evaluations / self._seconds if self._seconds else 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of the plan; when it ends, what it did not need is taken off the total."""
        self._stage, before = name, self._done
        self._last = began = time.monotonic()
        self._progress.update(self._task, description=name)
        yield
        self._timings[name] = time.monotonic() - began
        self.expect(self._done - before)

    def expect(self, work: float) -> None:
        """A better estimate of the present stage."""
        self._plan[self._stage] = work
        self._draw()

    def evaluated(self, count: int) -> None:
        """`count` network evaluations have been made since the stage's start or the last call."""
        now = time.monotonic()
        self._evaluations += count
        self._seconds += now - self._last
        self._last = now
        self.advance(count)

    def counter(self) -> Callable[[int, int], None]:
        """A callback (evaluations so far, in all) for those who count by themselves."""
        before = 0

        def count(done: int, total: int) -> None:
            nonlocal before
            self.evaluated(done - before)
            before = done

        return count

    def advance(self, work: float) -> None:
        """Something else has been done that takes as long as `work` evaluations."""
        self._done += work
        self._draw()

    def _draw(self) -> None:
        total = max(sum(self._plan.values()), self._done)
        self._progress.update(self._task, completed=self._done, total=total, rate=self.rate)
