"""Weights on disk: one safetensors file that says which network it is for.

Its metadata hold ``format``, ``model`` (JSON: architecture and sizes of the network, noise range, score scale) and,
once a score scale has been chosen, ``score_scale_choice`` (JSON: the table that it was chosen from).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from domains.docking.networks.registry import NetworkConfig, build, config_of, describe, noise_of
from domains.docking.networks.score import ScoreNetwork
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.structures.batch import ComplexBatch
from domains.weight_files import check_tensors, problem, read_weights, write_tensors, write_weights

DEMO_WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "demo.safetensors"

_FORMAT: Final = "ld3-docking-1"
_OURS: Final = "give a .safetensors file written by domains.docking.train"


@final
@dataclass(frozen=True)
class DockingModel:
    """A trained network and what goes with it.

    Attributes:
        network: in evaluation mode.
        noise_range: that it was trained on.
        score_scale: c, the factor on its score that was chosen on the validation split.
        path: of its weights, where its general grids lie; None for a network that comes from no file.
    """

    network: ScoreNetwork[Any]
    noise_range: NoiseRange
    score_scale: float
    path: Path | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.network.parameters()).device

    @torch.no_grad()
    def encode(self, batch: ComplexBatch) -> EncodedBatch:
        """The complexes as the network sees them, on its device; done once, whatever the score scale or the method."""
        batch = batch.to(self.device)
        return EncodedBatch(self, batch, self.network.encode(batch))


@final
@dataclass(frozen=True, eq=False)
class EncodedBatch:
    """Complexes with what a model's network makes of them before it sees a pose."""

    model: DockingModel
    batch: ComplexBatch
    encoding: Any


def save_weights(
    path: Path, state: Mapping[str, Tensor], config: NetworkConfig, noise: NoiseRange, score_scale: float
) -> None:
    """Write the tensors of `state` with everything needed to rebuild the model; replaces `path` atomically."""
    model = {**describe(config), "noise": asdict(noise), "score_scale": score_scale}
    write_weights(path, state, {"format": _FORMAT, "model": json.dumps(model)})


def store_score_scale(path: Path, score_scale: float, choice: Mapping[str, object]) -> None:
    """Set the score scale of the model at `path`, with a record of how it was chosen; replaces the file atomically.

    Raises:
        InputError: as :func:`load_weights`.
    """
    load_weights(path)
    tensors, metadata = read_weights(path, _FORMAT, _OURS)
    model = json.loads(metadata["model"]) | {"score_scale": score_scale}
    write_tensors(path, tensors, metadata | {"model": json.dumps(model), "score_scale_choice": json.dumps(choice)})


def load_weights(path: Path) -> DockingModel:
    """Rebuild the model stored at `path`, in evaluation mode, on the CPU.

    Raises:
        InputError: if the file is missing, is no safetensors file (a pickle is never opened), belongs to another model,
            lacks tensors, has others, or some of other shapes or with values that are not finite.
    """
    tensors, metadata = read_weights(path, _FORMAT, _OURS)
    try:
        model = json.loads(metadata["model"])
        network = build(config_of(model))
        noise = noise_of(model)
        score_scale = float(model["score_scale"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"its description of the model cannot be used ({type(error).__name__}: {error})"
        raise problem(path, message, "train or download the weights again") from error
    wanted = network.state_dict()
    check_tensors(path, tensors, {name: value for name, value in wanted.items() if value.numel()}, _OURS)
    network.load_state_dict(wanted | tensors)  # copies into the network's own float32
    return DockingModel(network.eval().requires_grad_(False), noise, score_scale, path)


def load_model(weights: Path | str = DEMO_WEIGHTS, device: str = "cpu") -> DockingModel:
    """The model stored in a weights file, with its network on `device` (as torch writes it: cpu, cuda, cuda:1).

    Raises:
        InputError: as :func:`load_weights`.
    """
    model = load_weights(Path(weights))
    model.network.to(device)
    return model
