"""Worker processes that hang, crash and raise, without taking the other tasks with them."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from domains.docking.poses.timed_pool import Failure, run


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


def prepare_lockstep() -> Callable[[str], int]:
    """Each task ends only when another worker has begun the task of the same number in the other group."""
    meeting = Path(os.environ["LD3_TEST_MEETING"])

    def work(task: str) -> int:
        (meeting / task).touch()
        while len(list(meeting.glob(f"*{task[1:]}"))) < 2:
            time.sleep(0.005)
        return os.getpid()

    return work


def prepare_nothing() -> Callable[[str], str]:
    os._exit(7)


def prepare_badly() -> Callable[[str], str]:
    raise FileNotFoundError("no such table: energies.csv")


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


def test_groups_stay_with_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD3_TEST_MEETING", str(tmp_path))
    groups = [[f"{name}{number}" for number in range(6)] for name in "ab"]
    first, second = (set(answers) for answers in run(prepare_lockstep, groups, processes=2, timeout_s=60.0))
    assert len(first) == len(second) == 1 and first != second


def test_no_tasks_start_no_process() -> None:
    assert run(prepare_nothing, [[], []], processes=2, timeout_s=1.0) == [[], []]


def test_workers_that_do_not_start_are_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"a worker process did not start: .* \(exit status 7\)"):
        run(prepare_nothing, [["a"]], processes=1, timeout_s=1.0)


def test_a_worker_that_cannot_be_prepared_shows_its_own_error() -> None:
    with pytest.raises(RuntimeError, match="did not start: FileNotFoundError: no such table: energies"):
        run(prepare_badly, [["a"]], processes=2, timeout_s=1.0)


def test_a_worker_that_cannot_be_started_shows_its_own_error() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        run(lambda: str.upper, [["a"]], processes=2, timeout_s=1.0)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        run(prepare, [["a"]], processes=0, timeout_s=1.0)
    with pytest.raises(ValueError, match="timeout_s must be positive, got 0"):
        run(prepare, [["a"]], processes=1, timeout_s=0.0)
