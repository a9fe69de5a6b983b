"""From a published pickle to a denoiser's configuration and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from torch import Tensor

from domains.images.edm.denoiser import PRECONDITIONING, DenoiserConfig
from domains.images.edm.network import NetworkConfig
from domains.images.edm.pickle_reader import Record, attributes, read_pickle, tensors_of

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
    """What a file holds: `EDMDenoiser(config).load_state_dict(tensors)`."""

    config: DenoiserConfig
    tensors: Mapping[str, Tensor]


def read_published(path: Path) -> Published:
    """Read the averaged network of a file without running anything in it.

    Raises:
        ValueError: in one line, if the file is no such pickle, or its network is not supported.
    """
    content = read_pickle(path)
    outer = content.get("ema")
    state = attributes(outer)
    if not isinstance(outer, Record) or state is None:
        raise ValueError(f"{path} holds no network called 'ema'")
    if outer.name not in PRECONDITIONING:
        raise ValueError(f"{path}: preconditioning must be one of {', '.join(PRECONDITIONING)}, got {outer.name}")
    inner = state.get("_modules", {}).get("model")
    network = attributes(inner)
    if not isinstance(inner, Record) or network is None or inner.name != _NETWORK:
        found = inner.name if isinstance(inner, Record) else "none"
        raise ValueError(f"{path}: the network must be DDPM++ or NCSN++ (class {_NETWORK}), got {found}")
    config = DenoiserConfig(_config(path, network), outer.name, float(state.get("sigma_data", 0.5)))
    return Published(config, {name: value.float() for name, value in tensors_of(state).items()})


def _config(path: Path, network: Mapping[str, Any]) -> NetworkConfig:
    """From the arguments that the network remembers to have been made with."""
    given = {**_DEFAULTS, **network.get("_init_kwargs", {})}
    for name, value in _FIXED.items():
        if given.get(name, value) != value:
            raise ValueError(f"{path}: {name} must be {value!r}, got {given[name]!r}")
    try:
        return NetworkConfig.from_dict({ours: given[theirs] for theirs, ours in _NAMES.items()})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its network cannot be rebuilt ({type(error).__name__}: {error})") from error
