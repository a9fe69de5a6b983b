"""Reads a denoiser's configuration and tensors from a published EDM pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from domains.images.edm.denoiser import DenoiserConfig
from domains.images.edm.network import Network, NetworkConfig
from domains.images.edm.pickle_reader import Record, attributes, read_pickle, table_of, tensors_of
from domains.images.models.preconditioning import PRECONDITIONING

_NETWORK: Final = "SongUNet"

# Arguments of the published class -> ours; and those that must have one value.
_NAMES: Final = {
    "img_resolution": "resolution",
    "in_channels": "channels",
    "label_dim": "classes",
    "augment_dim": "augmentations",
    "model_channels": "width",
    "channel_mult": "multipliers",
    "num_blocks": "blocks",
    "attn_resolutions": "attention",
    "dropout": "dropout",
    "embedding_type": "embedding",
    "channel_mult_noise": "embedding_width",
    "encoder_type": "encoder",
    "resample_filter": "taps",
}
_FIXED: Final = {"channel_mult_emb": 4, "decoder_type": "standard"}
# What the published class takes where nothing is said.
_DEFAULTS: Final[Mapping[str, object]] = {
    "label_dim": 0,
    "augment_dim": 0,
    "model_channels": 128,
    "channel_mult": (1, 2, 2, 2),
    "num_blocks": 4,
    "attn_resolutions": (16,),
    "dropout": 0.10,
    "embedding_type": "positional",
    "channel_mult_noise": 1,
    "encoder_type": "standard",
    "resample_filter": (1, 1),
}


@final
@dataclass(frozen=True)
class Published:
    """What a file holds: a denoiser's configuration, and its tensors by their published names."""

    config: DenoiserConfig
    tensors: Mapping[str, Tensor]


def read_published(path: Path) -> Published:
    """Read the averaged network of a file without running anything in it.

    Raises:
        ValueError: in one line, naming the file, if it is no such pickle, or its network is not supported.
    """
    content = read_pickle(path)
    try:
        return _published(content)
    except RecursionError as error:
        raise ValueError(f"{path}: its network holds itself") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _published(content: Mapping[object, object]) -> Published:
    outer = content.get("ema")
    state = attributes(outer)
    if not isinstance(outer, Record) or state is None:
        raise ValueError("there is no network called 'ema'")
    if outer.name not in PRECONDITIONING:
        raise ValueError(f"preconditioning must be one of {', '.join(PRECONDITIONING)}, got {outer.name}")
    inner = table_of(state, "_modules").get("model")
    network = attributes(inner)
    if not isinstance(inner, Record) or network is None or inner.name != _NETWORK:
        found = inner.name if isinstance(inner, Record) else "none"
        raise ValueError(f"the network must be DDPM++ or NCSN++ (class {_NETWORK}), got {found}")
    config = DenoiserConfig(_config(network), outer.name, state.get("sigma_data", 0.5))
    return Published(config, {name: value.float() for name, value in tensors_of(state).items()})


def _config(network: Mapping[str, Any]) -> NetworkConfig:
    """From the arguments that the network remembers to have been made with."""
    given = {**_DEFAULTS, **table_of(network, "_init_kwargs")}
    for name, value in _FIXED.items():
        said = given.get(name, value)
        if type(said) is not type(value) or said != value:
            raise ValueError(f"{name} must be {value!r}, got {said!r}")
    try:
        config = NetworkConfig.from_dict({ours: given[theirs] for theirs, ours in _NAMES.items()})
        with torch.device("meta"):
            Network(config)  # sizes may be possible one by one, and not together
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        cause = str(error).partition("\n")[0]
        raise ValueError(f"its network cannot be rebuilt ({type(error).__name__}: {cause})") from error
    return config
