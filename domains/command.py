"""The command `ld3`: docks, shows what was learned, and hands it to other samplers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import tyro

from domains.docking.dock_command import Dock
from domains.docking.report.command import Report
from domains.docking.screen.command import Screen
from domains.docking.screen.fit_command import Fit as FitDocking
from domains.flow_fit_command import Fit as FitFlow
from domains.grids_command import Grids
from domains.images.export import TARGETS
from domains.images.export.expressible import heading
from domains.images.fit_command import Fit as FitImages
from ld3.learn.result import FitResult

CANNOT = 2


class Command(Protocol):
    """What a word after `ld3` does."""

    def run(self) -> int:
        """Do it; the exit status."""


@dataclass(frozen=True)
class Export:
    """Print a learned grid in the words of another sampler."""

    fit: Annotated[Path, tyro.conf.Positional]
    """a fit, as the benchmarks save it"""
    to: Literal["diffusers", "diffusers-unconditional", "k-diffusion", "comfyui", "json"]
    """diffusers: Python for a pipeline; diffusers-unconditional: for one that takes no prompt; k-diffusion: Python for
    its samplers; comfyui: a list for ManualSigmas; json: all numbers"""

    def run(self) -> int:
        """Write it; the exit status."""
        return _printed(self._text)

    def _text(self) -> str:
        return TARGETS[self.to](FitResult.load(self.fit), self.fit)


@dataclass(frozen=True)
class Show:
    """Print what a fit learned and gained."""

    fit: Annotated[Path, tyro.conf.Positional]
    """a fit, as the benchmarks save it"""

    def run(self) -> int:
        """Print it; the exit status."""
        return _printed(self._text)

    def _text(self) -> str:
        fit = FitResult.load(self.fit)
        coefficients = [] if fit.coefficients is None else [fit.coefficients.describe()]
        return "\n".join([fit.grid.describe(), *coefficients, *heading(fit, ""), ""])


def _printed(make: Callable[[], str]) -> int:
    """Print what a command makes, or why it cannot."""
    try:
        sys.stdout.write(make())
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return CANNOT
    return 0


@dataclass(frozen=True)
class Fit:
    """Learn a grid: for an image model (images, or no word at all), for a flow of your own (flow, or --flow and no word
    at all), or for one receptor (docking)."""

    what: tyro.conf.OmitArgPrefixes[
        Annotated[FitImages, tyro.conf.subcommand("images", prefix_name=False)]
        | Annotated[FitFlow, tyro.conf.subcommand("flow", prefix_name=False)]
        | Annotated[FitDocking, tyro.conf.subcommand("docking", prefix_name=False)]
    ]

    def run(self) -> int:
        """Fit; the exit status."""
        return self.what.run()


COMMANDS: dict[str, Callable[..., Command]] = {
    "dock": Dock,
    "screen": Screen,
    "fit": Fit,
    "grids": Grids,
    "report": Report,
    "show": Show,
    "export": Export,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["fit"] and words[1:2] and words[1].startswith("--") and words[1] != "--help":
        words.insert(1, "flow" if any(word.partition("=")[0] == "--flow" for word in words) else "images")
    command: Command = tyro.extras.subcommand_cli_from_dict(COMMANDS, args=words, prog="ld3")
    return command.run()


if __name__ == "__main__":
    sys.exit(main())
