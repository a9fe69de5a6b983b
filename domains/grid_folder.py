"""A folder of fits that people send each other: what each is for, and whether it is what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from domains.schedule_record import HASH, check_schedule
from ld3.learn import FitResult

NEEDED: Final = ("model", "network", "network_calls")
"""What a fit has to say of itself, besides its schedule."""

OF_PROMPTS: Final = ("prompts_hash", "guidance", "negative_prompt", "resolution")
"""What one that was learned on prompts has to say as well."""


@final
@dataclass(frozen=True)
class Entry:
    """A file.

    Attributes:
        path: of it.
        fit: what it holds; None where it cannot be read.
        problem: why it is refused; None where it can be used.
    """

    path: Path
    fit: FitResult | None
    problem: str | None

    def cells(self) -> list[str]:
        """For a table with `HEADINGS`."""
        if self.fit is None:
            return [self.path.name, "-", "-", "-", "-", "-", "-", "-", "-"]
        fit, about = self.fit, self.fit.about
        calls = about.get("network_calls", fit.nfe)
        best = min(fit.hand_made.values())
        return [
            self.path.name,
            f"{_word(about, 'model')} ({_word(about, 'network')})",
            f"{fit.solver}{' with coefficients' if fit.coefficients is not None else ''}",
            f"{calls}",
            _word(about, "guidance"),
            f"{_word(about, 'prompts')} ({_word(about, 'prompts_hash')})" if "prompts" in about else "-",
            _word(about, "resolution"),
            _word(about, HASH),
            f"{fit.loss:.3g}, {best:.3g} by hand" + ("" if fit.learned else "; not learned"),
        ]


HEADINGS: Final = (
    "file",
    "model (network)",
    "solver",
    "calls",
    "guidance",
    "prompts",
    "pixels",
    "schedule",
    "distance to the teacher",
)


def read_folder(folder: Path, schedule: str | None = None) -> Iterator[Entry]:
    """Every .json file of a folder, in the order of their names.

    Args:
        schedule: hash of the noise schedule of the model that they are wanted for; None = any.

    Raises:
        ValueError: if there is no such folder, or no file in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of grids")
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise ValueError(f"{folder} holds no grid: there is no .json file in it")
    for path in paths:
        yield read_entry(path, schedule)


def read_entry(path: Path, schedule: str | None = None) -> Entry:
    """One file; what is wrong with it is in the entry."""
    try:
        fit = FitResult.load(path)
    except ValueError as error:
        return Entry(path, None, str(error))
    try:
        _check(fit, schedule)
    except ValueError as error:
        return Entry(path, fit, f"{path}: {error}")
    return Entry(path, fit, None)


def _check(fit: FitResult, schedule: str | None) -> None:
    needed = NEEDED + (OF_PROMPTS if "prompts" in fit.about else ())
    if missing := [name for name in needed if name not in fit.about]:
        raise ValueError(f"it does not say its {', '.join(missing)}; fit it again with ld3 fit")
    check_schedule(fit)
    if schedule is not None and fit.about[HASH] != schedule:
        raise ValueError(f"its schedule hash is {fit.about[HASH]}, the model's is {schedule}: it is for another model")


def _word(about: Mapping[str, Any], name: str) -> str:
    value = about.get(name)
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
