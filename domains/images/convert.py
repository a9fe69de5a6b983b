"""Converts published EDM pickles to safetensors: ``python -m domains.images.convert IN.pkl OUT.safetensors``.

Nothing in the pickle is run. The licence of the weights goes with them: EDM's are for non-commercial use.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from domains.errors import InputError
from domains.images.edm.denoiser import edm_denoiser
from domains.images.edm.published import read_published
from domains.images.edm.weights import published_names, save_edm
from domains.weight_files import check_tensors

CANNOT = 2


@dataclass(frozen=True)
class Options:
    """Options of the conversion."""

    published: Annotated[Path, tyro.conf.Positional]
    """file as published, a pickle"""
    out: Annotated[Path, tyro.conf.Positional]
    """safetensors file to write"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert with the command line's arguments; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m domains.images.convert")
    try:
        print(convert(options))
    except (ValueError, InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT
    return 0


def convert(options: Options) -> str:
    """Write the safetensors file; one line about it.

    Raises:
        ValueError: if the pickle is not one of a supported network.
        InputError: if its tensors do not fit that network.
        OSError: if the file cannot be written.
    """
    if options.out.suffix != ".safetensors":
        raise ValueError(f"out must end in .safetensors, got {options.out}")
    published = read_published(options.published)
    denoiser = edm_denoiser(published.config)
    check_tensors(options.published, published.tensors, published_names(denoiser), "this file cannot be converted")
    save_edm(options.out, published.config, published.tensors, options.published.name)
    parameters = sum(p.numel() for p in denoiser.parameters())
    network = published.config.network
    size = f"{network.channels} x {network.resolution} x {network.resolution}"
    return f"{options.out}: {published.config.preconditioning}, {size}, {parameters:,} parameters"


if __name__ == "__main__":
    sys.exit(main())
