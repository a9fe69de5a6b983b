"""Reads and writes EDM weights: one safetensors file that says which network it is for.

Its metadata hold ``format``, ``model`` (JSON: sizes, preconditioning, standard deviation of the data) and ``source``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from torch import Tensor

from domains.images.edm.denoiser import DenoiserConfig, edm_denoiser
from domains.images.edm.network import Network, NetworkConfig
from domains.images.models.denoiser import Denoiser
from domains.weight_files import check_tensors, problem, read_weights, write_tensors

FORMAT: Final = "ld3-edm-1"

_REMEDY: Final = "make one from a published file with python -m domains.images.convert IN.pkl OUT.safetensors"


_PREFIX: Final = "model."  # of the network's tensors, in the published files and here


def published_names(denoiser: Denoiser[Network]) -> dict[str, Tensor]:
    """The denoiser's tensors by the names that they have in files."""
    return {_PREFIX + name: value for name, value in denoiser.network.state_dict().items()}


def save_edm(path: Path, config: DenoiserConfig, tensors: Mapping[str, Tensor], source: str) -> None:
    """Write a denoiser's tensors with everything needed to rebuild it; replaces `path` atomically."""
    metadata = {"format": FORMAT, "model": json.dumps(asdict(config)), "source": source}
    write_tensors(path, {name: value.contiguous() for name, value in tensors.items()}, metadata)


def load_edm(path: Path) -> Denoiser[Network]:
    """Rebuild the denoiser stored at `path`, in evaluation mode.

    Raises:
        InputError: if the file is missing, is no safetensors file (a pickle is never opened), belongs to another model,
            lacks tensors, has others, or some of other shapes or with values that are not finite.
    """
    tensors, metadata = read_weights(path, FORMAT, _REMEDY)
    try:
        model = json.loads(metadata["model"])
        network = NetworkConfig.from_dict(model["network"])
        denoiser = edm_denoiser(DenoiserConfig(network, model["preconditioning"], model["sigma_data"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        message = f"its description of the model cannot be used ({type(error).__name__}: {error})"
        raise problem(path, message, _REMEDY) from error
    check_tensors(path, tensors, published_names(denoiser), _REMEDY)
    denoiser.network.load_state_dict({name.removeprefix(_PREFIX): value for name, value in tensors.items()})
    return denoiser.eval().requires_grad_(False)
