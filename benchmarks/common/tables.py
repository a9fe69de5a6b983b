"""Tables for the terminal and for Markdown pages, the numbers in their cells, and the place of a table in a page.

A page holds the table NAME between two lines of its own, so that a command can write it again and nobody types figures:

    <!-- table: NAME -->
    <!-- end of table: NAME -->
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import rich.table
from rich.console import Console

from benchmarks.common.store import write_text
from domains.options import mistake

_ROOT = Path(__file__).parents[2]
_PAGE_WIDTH = 160  # characters a line where there is no terminal to ask


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings.

    Attributes:
        headings: of the columns.
        rows: one cell a column.
        text_columns: so many first columns hold words and are aligned to the left; the others hold numbers.
        ruled_by: columns; in the terminal, a line is drawn where one of them changes.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    ruled_by: Sequence[int] = ()

    def terminal(self, title: str = "", caption: str = "") -> rich.table.Table:
        """For rich's console."""
        found = rich.table.Table(title=title or None, caption=caption or None)
        for i, heading in enumerate(self.headings):
            found.add_column(heading, justify="left" if i < self.text_columns else "right", no_wrap=True)
        for row, following in zip(self.rows, [*self.rows[1:], None], strict=True):
            changes = following is not None and any(row[i] != following[i] for i in self.ruled_by)
            found.add_row(*row, end_section=changes)
        return found

    def markdown(self) -> str:
        """For a page."""
        rule = ["---" if i < self.text_columns else "---:" for i in range(len(self.headings))]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (self.headings, rule, *self.rows))


def bullets(sentences: Sequence[str]) -> str:
    """A Markdown list."""
    return "\n".join(f"- {sentence}" for sentence in sentences)


def console() -> Console:
    """Standard output; with a wide page where it is no terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PAGE_WIDTH)


def percent(rate: float | None, digits: int = 0) -> str:
    """A fraction as a percentage; "-" for None."""
    return "-" if rate is None else f"{rate:.{digits}%}"


def percent_range(bounds: Sequence[float | None] | None) -> str:
    """An interval of fractions, in percent; "-" where a bound is not known."""
    low, high = bounds or (None, None)
    return "-" if low is None or high is None else f"{100 * low:.0f}-{100 * high:.0f}"


def decimal(value: float | None, digits: int = 2) -> str:
    """So many digits after the point; "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def significant(value: float | None, digits: int = 3) -> str:
    """So many significant digits, trailing zeros among them; "-" for None."""
    return "-" if value is None else f"{value:#.{digits}g}"


def difference(estimate: float, bounds: Sequence[float | None] | None, scale: float = 1.0, style: str = ".2f") -> str:
    """A signed difference with its interval, all times `scale`, numbers in `style`."""
    low, high = ("-" if x is None or math.isnan(x) else f"{scale * x:+{style}}" for x in bounds or (None, None))
    return f"{scale * estimate:+{style}} [{low}, {high}]"


def share(interval: Sequence[float], style: str = ".0f") -> str:
    """A share with its interval, (estimate, low, high), in %; the share itself in `style`."""
    estimate, low, high = (100 * value for value in interval)
    return f"{estimate:{style}} [{low:.0f}, {high:.0f}]"


def markers(name: str) -> tuple[str, str]:
    """The lines above and below the table `name` of a page."""
    return f"<!-- table: {name} -->", f"<!-- end of table: {name} -->"


def with_block(page: str, name: str, content: str) -> str:
    """`page` with `content` between the markers of `name`.

    Raises:
        ValueError: if the markers are not there once each, in order.
    """
    first, last = markers(name)
    before, begin, rest = page.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end) or first in rest or last in before + after:
        raise ValueError(f"page must have one line {first} and, below it, one line {last}")
    return f"{before}{first}\n\n{content}\n\n{last}{after}"


def put_block(page: Path, name: str, content: str) -> None:
    """Write `content` between the markers of `name` in a page; nothing is written if that fails.

    Raises:
        ValueError: if the page lacks the markers.
        OSError: if it cannot be read or written.
    """
    write_text(page, with_block(page.read_text(), name, content))


def check_page(option: str, page: Path, *names: str) -> None:
    """Refuse a page that cannot take the tables `names`, before anything is computed for it.

    Raises:
        InputError: naming the option.
    """
    try:
        for name in names:
            with_block(page.read_text(), name, "")
    except (OSError, ValueError) as error:
        raise mistake(option, f"{page} cannot take the table ({error})", "give a page with its markers") from error


def made_by(module: str, options: type, config: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """The sentence that says which command made a table; arguments as in :func:`command_line`."""
    return f"Made by `{command_line(module, options, config, left_out)}`."


def command_line(module: str, options: type, config: Mapping[str, Any], left_out: Collection[str] = ()) -> str:
    """`python -m module`, --nfe, and every other option that was not left at its default, as a shell reads it.

    Args:
        module: to run.
        options: the dataclass of its options, from which tyro makes the flags.
        config: option -> value, as JSON has it.
        left_out: options that figures do not depend on.
    """
    words = ["python", "-m", module]
    for field in fields(options):
        # An option that is newer than the results had its default.
        given = config.get(field.name, field.default)
        if field.name == "nfe" or (field.name not in left_out and _plain(given) != _plain(field.default)):
            words += _flag(field.name.replace("_", "-"), given)
    return shlex.join(words)


def _flag(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}" if value else f"--no-{name}"]
    return [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]


def _plain(value: object) -> str | list[str]:
    """The same for a tuple and a list, a path and its text."""
    return [portable(part) for part in value] if isinstance(value, list | tuple) else portable(value)


def portable(value: object) -> str:
    """As text; a path inside of the repository starts at its root, so that results name no folder of this machine."""
    inside = isinstance(value, Path) and value.is_relative_to(_ROOT)
    return str(value.relative_to(_ROOT)) if isinstance(value, Path) and inside else str(value)
