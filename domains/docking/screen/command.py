"""`ld3 screen`: a library and one protein in, tables and the best poses out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from domains.docking.screen.settings import ScreenOptions

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Screen(ScreenOptions):
    """Dock a library of ligands into one protein; a screen that was stopped or killed goes on where it was."""

    def run(self) -> int:
        """Screen; the exit status: 2 if nothing could be done, 1 if chunks were given up."""
        from rich.console import Console  # with the networks it takes seconds to import: not for `ld3 --help`

        from domains.exits import run_command

        log = Console(stderr=True, highlight=False, soft_wrap=True)
        less_memory = "screen with smaller --samples or --chunk, or on another --device"
        return run_command(partial(_screen, self, log), log, less_memory, self.out)


def _screen(options: Screen, log: Console) -> int:
    from domains.docking.screen.run import screen

    found = screen(options, log)
    counts = f"{found.docked} docked, {found.duplicates} duplicates, {found.failed} failed"
    again = f"; {found.given_up} chunks were given up, the same command tries them again" if found.given_up else ""
    print(f"{options.out}: {counts}{again}; the best {found.best} are in best.sdf and best.csv")
    return 1 if found.given_up else 0
