"""Reads and writes weights of the digits model: one safetensors file that says which network it is for.

Its metadata hold ``format``, ``model`` (JSON: sizes of the network, standard deviation of the data) and ``training``
(JSON: from which step, at which validation loss).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from domains.images.models.denoiser import Denoiser
from domains.images.models.unet import UNet, UNetConfig
from domains.weight_files import check_tensors, problem, read_weights, write_weights

DIGITS_WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "digits.safetensors"

FORMAT: Final = "ld3-digits-1"
_OURS: Final = "give a .safetensors file written by domains.images.train"


def save_weights(path: Path, denoiser: Denoiser[UNet], training: Mapping[str, object]) -> None:
    """Write a denoiser with everything needed to rebuild it; replaces `path` atomically."""
    model = {"network": asdict(denoiser.network.config), "sigma_data": denoiser.sigma_data}
    metadata = {"format": FORMAT, "model": json.dumps(model), "training": json.dumps(training)}
    write_weights(path, denoiser.state_dict(), metadata)


def load_weights(path: Path) -> Denoiser[UNet]:
    """Rebuild the denoiser stored at `path`, in evaluation mode.

    Raises:
        InputError: if the file is missing, is no safetensors file (a pickle is never opened), belongs to another model,
            lacks tensors, has others, or some of other shapes or with values that are not finite.
    """
    tensors, metadata = read_weights(path, FORMAT, _OURS)
    try:
        model = json.loads(metadata["model"])
        network = model["network"] | {"multipliers": tuple(model["network"]["multipliers"])}
        denoiser = Denoiser(UNet(UNetConfig(**network)), float(model["sigma_data"]))
    except (KeyError, TypeError, ValueError) as error:
        message = f"its description of the model cannot be used ({type(error).__name__}: {error})"
        raise problem(path, message, "train or download the weights again") from error
    check_tensors(path, tensors, denoiser.state_dict(), _OURS)
    denoiser.load_state_dict(tensors)  # copies into the network's own float32
    return denoiser.eval().requires_grad_(False)
