"""Weights on disk: one safetensors file that says which network it is for."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from domains.docking.diffusion import NoiseRange
from domains.docking.errors import InputError, InputProblem
from domains.docking.pocket_net import PocketNet, PocketNetConfig

DEMO_WEIGHTS = Path(__file__).parent / "weights" / "demo.safetensors"
_FORMAT = "ld3-docking-1"


@dataclass(frozen=True)
class DockingModel:
    """A trained network with the noise range that it was trained on and the sharpness chosen on its validation split."""

    network: PocketNet
    noise_range: NoiseRange
    sharpness: float


def save_weights(path: Path, state: Mapping[str, Tensor], config: PocketNetConfig, noise: NoiseRange, sharpness: float) -> None:
    """Write the tensors of `state` with everything needed to rebuild the model; replaces `path` atomically."""
    header = {"network": asdict(config), "noise": asdict(noise), "sharpness": sharpness}
    part = path.with_suffix(".part")
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.items() if v.numel()}
    save_file(tensors, part, metadata={"format": _FORMAT, "model": json.dumps(header)})
    os.replace(part, path)


def load_weights(path: Path) -> DockingModel:
    """Rebuild the model stored at `path`, in evaluation mode.

    Raises:
        InputError: if the file is missing, is no safetensors file (a pickle is never opened), belongs to another model, or
            lacks tensors or has tensors of other shapes.
    """
    tensors, header = _read(path)
    try:
        config = PocketNetConfig(**header["network"])
        noise = NoiseRange(**{k: (float(a), float(b)) for k, (a, b) in header["noise"].items()})
        sharpness = float(header["sharpness"])
    except (KeyError, TypeError, ValueError) as e:
        raise _problem(path, f"its description of the model cannot be used ({e})", "train or download the weights again") from e
    network = PocketNet(config)
    wanted = {k: v for k, v in network.state_dict().items() if v.numel()}
    missing = sorted(set(wanted) - set(tensors))
    foreign = sorted(set(tensors) - set(wanted))
    if missing or foreign:
        what = f"{len(missing)} tensors missing" + (f" (first: {missing[0]})" if missing else "")
        raise _problem(path, f"{what}, {len(foreign)} not of this network", "use weights written by domains.docking.train")
    for name, value in wanted.items():
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, the network needs {tuple(value.shape)}"
            raise _problem(path, f"tensor {name} has shape {shapes}", "use weights written by domains.docking.train")
        if not torch.isfinite(tensors[name]).all():
            raise _problem(path, f"tensor {name} holds NaN or infinite values", "use an earlier checkpoint")
    network.load_state_dict(network.state_dict() | tensors)
    return DockingModel(network.eval().requires_grad_(False), noise, sharpness)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, dict[str, object]]]:
    if not path.is_file():
        raise _problem(path, "no such weights file", "check the path given to --weights")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}
    except (SafetensorError, OSError) as e:
        kind = "a pickle (it could run code, so it is not opened)" if _is_pickle(path) else f"no safetensors file ({e})"
        raise _problem(path, f"this is {kind}", "give a .safetensors file written by domains.docking.train") from e
    if metadata.get("format") != _FORMAT:
        raise _problem(path, "weights of another model", "give a .safetensors file written by domains.docking.train")
    return tensors, json.loads(metadata["model"])


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(4)
    return head[:2] == b"PK" or head[:1] == b"\x80"


def _problem(path: Path, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, remedy))
