"""Turn a DiffDock release into one weights file: ``python -m domains.docking.convert WORKDIR/v1.1 OUT.safetensors``.

The file holds the score network, its noise range and yaml, the temperatures and starts of the published sampler, and
the confidence model. ``--weights`` takes it wherever it takes other weights, and the release's folder as well; only a
file can have a score scale or temperatures of its own stored in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from domains.docking.networks.weights import convert_release
from domains.errors import InputError
from domains.weight_files import problem


@dataclass(frozen=True)
class ConvertConfig:
    """What is converted."""

    release: Annotated[Path, tyro.conf.Positional]
    """unpacked folder of a DiffDock release, such as workdir/v1.1, with score_model and confidence_model in it"""
    out: Annotated[Path, tyro.conf.Positional]
    """the .safetensors file to write"""


def main(config: ConvertConfig) -> str:
    """Convert; one line about what was written.

    Raises:
        InputError: if the folder is no release that can be used, or the file cannot be written.
    """
    if config.out.suffix != ".safetensors" or config.out.is_dir():
        raise problem(config.out, "this is no name of a weights file", "give one that ends in .safetensors")
    try:
        config.out.parent.mkdir(parents=True, exist_ok=True)
        model = convert_release(config.release, config.out)
    except OSError as error:
        raise problem(config.out, f"it cannot be written ({error.strerror})", "write to another folder") from error
    numbers = sum(p.numel() for p in model.network.parameters())
    ranker = "with its confidence model" if model.ranker else "without a confidence model: the folder has none"
    return f"{config.out}: score network of {numbers:,} numbers, {ranker}"


def cli(arguments: Sequence[str] | None = None) -> None:
    """The command line; exits with status 2 and one line for a mistake of the user."""
    try:
        line = main(tyro.cli(ConvertConfig, description=__doc__, args=arguments))
    except InputError as error:
        Console(stderr=True).print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        raise SystemExit(2) from None
    Console().print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    cli()
