"""Options from YAML files: types, nesting, refusals by key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from domains.errors import InputError
from domains.yaml_options import read_options


@dataclass(frozen=True)
class Inner:
    rate: float
    steps: int = 3

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")


@dataclass(frozen=True)
class Outer:
    data: Path
    kind: Literal["a", "b"] = "a"
    limit: float | None = 1.0
    pair: tuple[int, int] = (1, 2)
    names: tuple[str, ...] = ()
    inner: Inner = field(default_factory=lambda: Inner(0.5))
    more: tuple[Inner, ...] = ()
    change: Mapping[str, Any] = field(default_factory=dict)


def read(tmp_path: Path, text: str) -> Outer:
    (tmp_path / "options.yaml").write_text(text)
    return read_options(Outer, tmp_path / "options.yaml")


def test_values_have_the_types_of_the_fields(tmp_path: Path) -> None:
    text = """
        data: some/where
        kind: b
        limit: null
        pair: [3, 4]
        names: [x, y]
        inner: {rate: 1e-5}
        more: [{rate: 2, steps: 0}, {rate: inf}]
        change: {steps: 0, scale: null}
    """
    found = read(tmp_path, text)
    more, change = (Inner(2.0, 0), Inner(float("inf"))), {"steps": 0, "scale": None}
    assert found == Outer(Path("some/where"), "b", None, (3, 4), ("x", "y"), Inner(1e-5), more, change)
    assert isinstance(found.more[0].rate, float)
    assert read(tmp_path, "data: x") == Outer(Path("x"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: b", "data is missing"),
        ("data: x\nkind: c", "kind must be"),
        ("data: x\nspeed: 3", "speed is unknown, known are data, kind"),
        ("data: x\nlimit: fast", "limit must be float | None, got 'fast'"),
        ("data: x\npair: [1, 2, 3]", "pair must be"),
        ("data: x\npair: [1, 2.5]", "pair[1] must be int, got 2.5"),
        ("data: x\nnames: word", "names must be"),
        ("data: x\ninner: {rate: true}", "inner.rate must be float, got True"),
        ("data: x\ninner: {steps: 1}", "inner.rate is missing"),
        ("data: x\ninner: {rate: 1, steps: -1}", "steps must not be negative, got -1"),
        ("data: x\nmore: [{rate: 1, step: 1}]", "more[0].step is unknown"),
        ("- data", "the file must hold keys with values"),
        ("data: [", "options.yaml: while parsing"),
    ],
)
def test_mistakes_name_the_file_and_the_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "options.yaml"))
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml"):
        read_options(Outer, tmp_path / "none.yaml")


def test_fields_may_be_left_to_the_user(tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("kind: b")
    marker = object()
    found = read_options(Outer, tmp_path / "options.yaml", missing=marker)
    assert found.data is marker
    assert found.kind == "b"
