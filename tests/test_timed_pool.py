"""Worker processes that hang, crash and raise, without taking the other tasks with them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from domains.docking.timed_pool import Failure, run


def prepare() -> Callable[[str], tuple[str, int]]:
    def work(task: str) -> tuple[str, int]:
        match task:
            case "hang":
                signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # nothing but SIGKILL ends this
                time.sleep(600)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "raise":
                raise ValueError("a bad task")
        return task.upper(), os.getpid()

    return work


def prepare_nothing() -> Callable[[str], str]:
    os._exit(7)


def texts(answers: list[tuple[str, int] | Failure]) -> list[str]:
    return [answer.reason if isinstance(answer, Failure) else answer[0] for answer in answers]


def test_the_rest_goes_on_after_hangs_crashes_and_errors() -> None:
    groups = [["a", "hang", "b"], ["segfault", "c", "exit"], ["raise", "d"], []]
    seen: list[tuple[int, int]] = []
    begin = time.monotonic()
    answers = run(prepare, groups, processes=2, timeout_s=1.0, on_done=lambda done, total: seen.append((done, total)))
    assert time.monotonic() - begin < 30
    assert [texts(group) for group in answers] == [
        ["A", "it took more than 1 s", "B"],
        ["its worker process crashed (SIGSEGV)", "C", "its worker process crashed (exit status 3)"],
        ["ValueError: a bad task", "D"],
        [],
    ]
    assert seen[-1] == (8, 8) and [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_a_group_that_hangs_is_given_up() -> None:
    answers = run(prepare, [["hang"] * 5 + ["late"], ["a"]], processes=1, timeout_s=0.3)
    assert texts(answers[0]) == ["it took more than 0.3 s"] * 2 + ["not tried, for 2 like it took more than 0.3 s"] * 4
    assert texts(answers[1]) == ["A"]


def test_groups_stay_with_a_worker() -> None:
    answers = run(prepare, [["a"] * 6, ["b"] * 6], processes=2, timeout_s=10.0)
    pids = [[answer[1] for answer in group if not isinstance(answer, Failure)] for group in answers]
    # The second worker may start late, and then finds one group half done.
    assert all(len(group) == 6 for group in pids)
    assert len(set(pids[0][:3])) == 1 and len(set(pids[1][:3])) == 1


def test_no_tasks_start_no_process() -> None:
    assert run(prepare_nothing, [[], []], processes=2, timeout_s=1.0) == [[], []]


def test_workers_that_do_not_start_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"a worker process did not start: .* \(exit status 7\)"):
        run(prepare_nothing, [["a"]], processes=1, timeout_s=1.0)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        run(prepare, [["a"]], processes=0, timeout_s=1.0)
    with pytest.raises(ValueError, match="timeout_s must be positive, got 0"):
        run(prepare, [["a"]], processes=1, timeout_s=0.0)
