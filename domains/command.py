"""The command `ld3`: what was learned, shown and handed to other samplers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from domains.images.export import TARGETS
from domains.images.export.expressible import heading
from ld3.learn.result import FitResult

CANNOT = 2


@dataclass(frozen=True)
class Export:
    """Write a learned grid in the words of another sampler, on standard output."""

    fit: Annotated[Path, tyro.conf.Positional]
    """a fit, as the benchmarks save it"""
    to: Literal["diffusers", "diffusers-unconditional", "k-diffusion", "comfyui", "json"]
    """diffusers: Python for a pipeline; diffusers-unconditional: for one that takes no prompt; k-diffusion: Python for
    its samplers; comfyui: a list for ManualSigmas; json: all numbers"""

    def text(self) -> str:
        """What was asked for."""
        return TARGETS[self.to](FitResult.load(self.fit), self.fit)


@dataclass(frozen=True)
class Show:
    """Print what was learned: levels, coefficients of the solver if there are any, and what was gained."""

    fit: Annotated[Path, tyro.conf.Positional]
    """a fit, as the benchmarks save it"""

    def text(self) -> str:
        """What was asked for."""
        fit = FitResult.load(self.fit)
        coefficients = [] if fit.coefficients is None else [fit.coefficients.describe()]
        return "\n".join([fit.grid.describe(), *coefficients, *heading(fit, ""), ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    commands: dict[str, Callable[..., Export | Show]] = {"export": Export, "show": Show}
    command = tyro.extras.subcommand_cli_from_dict(commands, args=arguments, prog="ld3")
    try:
        sys.stdout.write(command.text())
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return CANNOT
    return 0


if __name__ == "__main__":
    sys.exit(main())
