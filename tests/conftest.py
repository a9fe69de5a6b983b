"""Where the tests' files are, and what every test leaves as it was."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[2] / "shared"


def data(name: str) -> Path:
    """A file of tests/data, whose README says where it comes from."""
    return DATA / name


def shared(path: str) -> Path:
    """What is too large for the repository (series of complexes, networks): beside it, or the test is skipped."""
    if not (SHARED / path).exists():
        pytest.skip(f"shared/{path} is not beside the repository")
    return SHARED / path


@pytest.fixture(scope="session")
def diffdock_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of DiffDock with its confidence model and ESM-2: tiny and random, in the form of the real one."""
    from language_models import write_language_model, write_release

    folder = write_release(tmp_path_factory.mktemp("workdir"))
    write_language_model(folder)
    return folder


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Handlers are as they were after each test, whatever command it ran: long ones note signals instead."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings are kept apart from the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "kept"))
