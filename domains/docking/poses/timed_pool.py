"""Tasks in worker processes that are killed when they take too long.

The standard pools cannot end a task that hangs inside compiled code, nor go on after a worker that crashed.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Generic, TypeVar, cast, final

Task = TypeVar("Task")
Answer = TypeVar("Answer")

_START_LIMIT = 120.0  # s, for a worker's imports
_PATIENCE = 2  # tasks of one group that may run out of time


@dataclass(frozen=True)
class Failure:
    """Why there is no answer."""

    reason: str


def run(
    prepare: Callable[[], Callable[[Task], Answer]],
    groups: Sequence[Sequence[Task]],
    processes: int,
    timeout_s: float,
    on_done: Callable[[int, int], None] | None = None,
) -> list[list[Answer | Failure]]:
    """The answers to all tasks, in their order, with a :class:`Failure` where a task raised, crashed, or took too long.

    Workers are spawned, so that a script that calls this needs the `if __name__ == "__main__"` guard.

    Args:
        prepare: called once in each worker, gives the function that answers a task; importable by its name.
        groups: tasks that are best done one after the other by one worker, for what it remembers. After two tasks that
            took too long the rest of a group is given up.
        processes: number of workers, at least 1.
        timeout_s: seconds for each task, not counting the start of a worker.
        on_done: called as `on_done(done, total)` after each task.

    Raises:
        ValueError: if `processes` or `timeout_s` is not positive.
        RuntimeError: if a worker does not start, with what `prepare` raised there.
    """
    with Pool(prepare, min(processes, max(1, sum(map(len, groups)))), timeout_s) as pool:
        return pool.run(groups, on_done)


@final
class Pool(Generic[Task, Answer]):
    """Workers that stay for several calls of :meth:`run`; they end with the `with` block.

    Arguments and errors as of :func:`run`. A worker starts when there is a task for it.
    """

    def __init__(self, prepare: Callable[[], Callable[[Task], Answer]], processes: int, timeout_s: float) -> None:
        if processes < 1:
            raise ValueError(f"processes must be at least 1, got {processes}")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be positive, got {timeout_s}")
        self._workers = [_Worker[Task, Answer](prepare, timeout_s) for _ in range(processes)]

    def __enter__(self) -> Pool[Task, Answer]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the workers; a later call of :meth:`run` starts new ones."""
        for worker in self._workers:
            worker.stop()

    def run(
        self, groups: Sequence[Sequence[Task]], on_done: Callable[[int, int], None] | None = None
    ) -> list[list[Answer | Failure]]:
        """As the function :func:`run`; one call at a time."""
        plan = _Plan[Task, Answer](groups)
        for worker in self._workers:
            worker.forget_group()
        try:
            while plan.done < plan.total:
                for worker in self._workers:
                    worker.employ(plan)
                _await([worker for worker in self._workers if worker.deadline < math.inf])
                done = plan.done
                for worker in self._workers:
                    worker.collect(plan)
                if on_done is not None and plan.done > done:
                    on_done(plan.done, plan.total)
        except BaseException:
            self.stop()  # what they are at belongs to a plan that is given up
            raise
        return plan.answers


class _Plan(Generic[Task, Answer]):
    """What is still to do, and the answers so far."""

    def __init__(self, groups: Sequence[Sequence[Task]]) -> None:
        self._groups = groups
        self._waiting = [deque(range(len(tasks))) for tasks in groups]
        self._begun = [False] * len(groups)
        self._late = [0] * len(groups)
        self._settled: list[list[Answer | Failure | None]] = [[None] * len(tasks) for tasks in groups]
        self.total = sum(map(len, groups))
        self.done = 0

    @property
    def answers(self) -> list[list[Answer | Failure]]:
        assert self.done == self.total
        return cast("list[list[Answer | Failure]]", self._settled)

    @property
    def is_waiting(self) -> bool:
        return any(self._waiting)

    def next(self, group: int | None) -> tuple[tuple[int, int], Task]:
        """A task for a worker that was busy with `group`: of that group, or of one not begun, or of the longest."""
        if group is None or not self._waiting[group]:
            group = max(range(len(self._groups)), key=self._rank)
        self._begun[group] = True
        index = self._waiting[group].popleft()
        return (group, index), self._groups[group][index]

    def _rank(self, group: int) -> tuple[bool, int]:
        waiting = len(self._waiting[group])
        return waiting > 0 and not self._begun[group], waiting

    def settle(self, item: tuple[int, int], answer: Answer | Failure) -> None:
        group, index = item
        self._settled[group][index] = answer
        self.done += 1

    def settle_late(self, item: tuple[int, int], timeout_s: float) -> None:
        """A task that took too long; its group is given up with the second."""
        group, _ = item
        self.settle(item, Failure(f"it took more than {timeout_s:g} s"))
        self._late[group] += 1
        if self._late[group] == _PATIENCE:
            while self._waiting[group]:
                rest = (group, self._waiting[group].popleft())
                self.settle(rest, Failure(f"not tried, for {_PATIENCE} like it took more than {timeout_s:g} s"))


class _Worker(Generic[Task, Answer]):
    """A process, started when there is work and ended when it takes too long; `deadline` is infinite while it idles."""

    def __init__(self, prepare: Callable[[], Callable[[Task], Answer]], timeout_s: float) -> None:
        self._prepare = prepare
        self._timeout_s = timeout_s
        self._process: BaseProcess | None = None
        self._ready = False
        self._item: tuple[int, int] | None = None
        self._group: int | None = None
        self.connection: Connection
        self.deadline = math.inf

    def forget_group(self) -> None:
        """Another plan begins."""
        self._group = None

    def employ(self, plan: _Plan[Task, Answer]) -> None:
        """Give it a task if there is one and it idles."""
        if not plan.is_waiting or self.deadline < math.inf:
            return
        if self._process is None:
            self._start()
            return
        self._item, task = plan.next(self._group)
        self._group = self._item[0]
        self.deadline = time.monotonic() + self._timeout_s
        # A worker that is gone shows in `collect`.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(task)

    def collect(self, plan: _Plan[Task, Answer]) -> None:
        """Take what it has to say, and end it if its time is over."""
        if self.deadline == math.inf:
            return
        if self.connection.poll():
            self._receive(plan)
        elif time.monotonic() > self.deadline:
            if self._item is None:
                raise RuntimeError(f"a worker process was not ready after {_START_LIMIT:g} s")
            plan.settle_late(self._item, self._timeout_s)
            self.stop()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self.connection.close()
        self._process, self._item, self.deadline = None, None, math.inf

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, far_end = context.Pipe()
        process = context.Process(target=_serve, args=(far_end, self._prepare), daemon=True)
        try:
            process.start()  # raises what is wrong with `prepare`, if it cannot be sent
        except BaseException:
            self.connection.close()
            raise
        finally:
            far_end.close()
        self._process = process
        self._group = None
        self.deadline = time.monotonic() + _START_LIMIT

    def _receive(self, plan: _Plan[Task, Answer]) -> None:
        assert self._process is not None
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self._process.join()
            reason = f"its worker process crashed ({_exit(self._process.exitcode)})"
            if self._item is None:
                raise RuntimeError(f"a worker process did not start: {reason}") from error
            plan.settle(self._item, Failure(reason))
            self.stop()
            return
        if self._item is not None:
            plan.settle(self._item, answer)
        elif isinstance(answer, Failure):
            raise RuntimeError(f"a worker process did not start: {answer.reason}")
        self._item, self.deadline = None, math.inf


def _await(workers: Sequence[_Worker[Task, Answer]]) -> None:
    """Sleep until one of the busy workers speaks or runs out of time."""
    deadline = min(worker.deadline for worker in workers)
    wait([worker.connection for worker in workers], max(0.0, deadline - time.monotonic()))


def _serve(connection: Connection, prepare: Callable[[], Callable[[Task], Answer]]) -> None:
    """The life of a worker: say that it is ready, then answer until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends its workers.
    try:
        work = prepare()
    except Exception as error:
        connection.send(_failure(error))
        return
    connection.send(None)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            answer: Answer | Failure = work(task)
        except Exception as error:
            answer = _failure(error)
        connection.send(answer)


def _failure(error: Exception) -> Failure:
    return Failure(f"{type(error).__name__}: {error}")


def _exit(code: int | None) -> str:
    if code is not None and code < 0:
        return signal.Signals(-code).name
    return f"exit status {code}"
