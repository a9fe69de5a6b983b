"""Weights on disk: one safetensors file that says which network it is for.

Its metadata hold ``format``, ``model`` (JSON: sizes of the network, noise range, sharpness) and, once a sharpness has
been chosen, ``sharpness_choice`` (JSON: the table that it was chosen from).
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from domains.docking.diffusion import NoiseRange
from domains.docking.pocket_net import PocketNet, PocketNetConfig
from domains.docking.score import ScoreNetwork
from domains.errors import InputError, InputProblem

DEMO_WEIGHTS: Final = Path(__file__).parent / "weights" / "demo.safetensors"

_FORMAT: Final = "ld3-docking-1"
_LARGE: Final = 1024  # numbers; below are biases and the constants of bases and couplings
_OURS: Final = "give a .safetensors file written by domains.docking.train"


@final
@dataclass(frozen=True)
class DockingModel:
    """A trained network, the noise range that it was trained on, the sharpness chosen on its validation split."""

    network: ScoreNetwork[Any]
    noise_range: NoiseRange
    sharpness: float


def save_weights(
    path: Path, state: Mapping[str, Tensor], config: PocketNetConfig, noise: NoiseRange, sharpness: float
) -> None:
    """Write the tensors of `state` with everything needed to rebuild the model; replaces `path` atomically.

    Large tensors are stored in half precision, which halves the file; a weight is rounded by one part in 2000.
    """
    model = {"network": asdict(config), "noise": asdict(noise), "sharpness": sharpness}
    tensors = {name: _stored(value) for name, value in state.items() if value.numel()}
    _write(path, tensors, {"format": _FORMAT, "model": json.dumps(model)})


def _stored(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() and value.numel() >= _LARGE else value


def store_sharpness(path: Path, sharpness: float, choice: Mapping[str, object]) -> None:
    """Set the sharpness of the model at `path`, with a record of how it was chosen; replaces the file atomically.

    Raises:
        InputError: as :func:`load_weights`.
    """
    load_weights(path)
    tensors, metadata = _read(path)
    model = json.loads(metadata["model"]) | {"sharpness": sharpness}
    _write(path, tensors, metadata | {"model": json.dumps(model), "sharpness_choice": json.dumps(choice)})


def load_weights(path: Path) -> DockingModel:
    """Rebuild the model stored at `path`, in evaluation mode.

    Raises:
        InputError: if the file is missing, is no safetensors file (a pickle is never opened), belongs to another model,
            lacks tensors, has others, or some of other shapes or with values that are not finite.
    """
    tensors, metadata = _read(path)
    try:
        model = json.loads(metadata["model"])
        network = PocketNet(PocketNetConfig(**model["network"]))
        noise = NoiseRange(**{name: (float(low), float(high)) for name, (low, high) in model["noise"].items()})
        sharpness = float(model["sharpness"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        message = f"its description of the model cannot be used ({type(error).__name__}: {error})"
        raise _problem(path, message, "train or download the weights again") from error
    wanted = network.state_dict()
    _check(path, tensors, {name: value for name, value in wanted.items() if value.numel()})
    network.load_state_dict(wanted | tensors)  # copies into the network's own float32
    return DockingModel(network.eval().requires_grad_(False), noise, sharpness)


def _check(path: Path, tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing, foreign = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    for what, names in (("lacks", missing), ("has but the network has not", foreign)):
        if names:
            raise _problem(path, f"it {what} {len(names)} tensors, first of all {names[0]}", _OURS)
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, the network needs {tuple(value.shape)}"
            raise _problem(path, f"tensor {name} has shape {shapes}", _OURS)
        if not torch.isfinite(tensors[name]).all():
            raise _problem(path, f"tensor {name} holds NaN or infinite values", "use an earlier checkpoint")


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(save(tensors, metadata))
    os.replace(part, path)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not path.is_file():
        raise _problem(path, "there is no such weights file", "check the path")
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        kind = (
            "a pickle (it could run code, so it is not opened)"
            if _is_pickle(path)
            else f"no safetensors file ({error})"
        )
        raise _problem(path, f"this is {kind}", _OURS) from error
    if metadata.get("format") != _FORMAT:
        raise _problem(path, "these are weights of another model", _OURS)
    return tensors, metadata


def _is_pickle(path: Path) -> bool:
    """A bare pickle of protocol 2 or later, or a zip as torch.save makes them; False for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
    except OSError:
        return False
    return head == b"PK" or head[:1] == b"\x80"


def _problem(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
