"""Progress of long work: a bar in a terminal, and elsewhere a plain line every 30 seconds; both with the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Final, final

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_SPEED_WINDOW: Final = 60.0  # seconds over which the time left is estimated
_HOUR: Final = 3600.0
_LINE_EVERY: Final = 30.0  # seconds, where output is no terminal


@final
class WorkProgress:
    """Counts work in `unit`, by default network evaluations (one sample once through the network).

    Args:
        console: where to draw.
        plan: stage -> the work that it is expected to be, in `unit` or what takes as long.
        timings: filled with stage -> seconds, as stages end.
        unit: of the rate, which is not shown if this is empty.
        clock: seconds.
        per_hour: whether the rate is by the hour, and the time left estimated over hours: for work that is counted in
            few large pieces.
    """

    def __init__(
        self,
        console: Console,
        plan: Mapping[str, float],
        timings: dict[str, float] | None = None,
        unit: str = "NFE",
        clock: Callable[[], float] = time.monotonic,
        per_hour: bool = False,
    ) -> None:
        self._console = console
        self._plan = dict(plan)
        self._timings = {} if timings is None else timings
        self._unit = unit and (f"{unit}/h" if per_hour else f"{unit}/s")
        self._per = _HOUR if per_hour else 1.0
        self._clock = clock
        self._done = 0.0
        self._evaluations = 0.0
        self._seconds = 0.0
        self._stage = self._note = ""
        self._last = self._said = clock()
        self._progress = rich.progress.Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn(f"{{task.fields[rate]}} {self._unit}" if unit else ""),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            speed_estimate_period=_HOUR if per_hour else _SPEED_WINDOW,
            disable=not console.is_terminal,
            get_time=clock,
        )
        self._task = self._progress.add_task("", total=sum(self._plan.values()), rate="0")

    def __enter__(self) -> WorkProgress:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def rate(self) -> float:
        """Evaluations per second so far; 0 before the first."""
        return self._evaluations / self._seconds if self._seconds else 0.0

    @property
    def _rate_text(self) -> str:
        """In the unit; below ten with two digits, since steps of seconds are not 0 a second."""
        rate = self.rate * self._per
        return f"{rate:.2g}" if rate < 9.95 else f"{rate:.0f}"

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A part of the plan; when it ends, what it did not need is taken off the total."""
        self._stage, self._note, before = name, "", self._done
        self._last = began = self._clock()
        self._progress.update(self._task, description=name)
        yield
        self._timings[name] = self._clock() - began
        self.expect(self._done - before)

    def expect(self, work: float) -> None:
        """A better estimate of the present stage."""
        self._plan[self._stage] = work
        self._draw()

    def note(self, text: str) -> None:
        """A few words about how the present stage goes, such as its losses."""
        self._note = f" {text}"
        self._progress.update(self._task, description=f"{self._stage}{self._note}")

    def evaluated(self, count: float) -> None:
        """`count` evaluations have been made since the stage's start or the last call."""
        now = self._clock()
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

    def follow(self) -> Callable[[int, int], None]:
        """A callback of the same kind for all of the present stage, whose work is then what they say it is in all."""
        count = self.counter()

        def follow(done: int, total: int) -> None:
            self._plan[self._stage] = total
            count(done, total)

        return follow

    def advance(self, work: float) -> None:
        """Something else has been done that takes as long as `work` evaluations."""
        self._done += work
        self._draw()

    def _draw(self) -> None:
        total = max(sum(self._plan.values()), self._done)
        self._progress.update(self._task, completed=self._done, total=total, rate=self._rate_text)
        now = self._clock()
        if not self._console.is_terminal and now - self._said >= _LINE_EVERY:
            self._said = now
            self._console.print(self._line(total), markup=False, highlight=False, soft_wrap=True)

    def _line(self, total: float) -> str:
        left = self._progress.tasks[0].time_remaining
        remaining = "time left not known yet" if left is None else f"{timedelta(seconds=int(left))} left"
        share = self._done / total if total else 1.0
        rate = f"{self._rate_text} {self._unit}, " if self._unit else ""
        return f"{self._stage}{self._note}: {share:.0%} of all work, {rate}{remaining}"
