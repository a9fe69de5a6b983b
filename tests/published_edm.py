"""Pickles in the format of the published EDM files: objects that carry their source and are rebuilt by running it."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn

from domains.images.edm.network import Network, NetworkConfig
from domains.images.models.denoiser import Denoiser

SOURCE = "raise SystemExit('the source in the pickle was run')"


def reconstruct(meta: dict[str, object]) -> object:
    """What a real reader would call."""
    raise SystemExit("the pickle was run")


class Published(nn.Module):
    """A module that is pickled as their persistent classes are."""

    def __init__(self, class_name: str, module: nn.Module, **attributes: object) -> None:
        super().__init__()
        self.class_name = class_name
        for name, parameter in module._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in module._buffers.items():
            self.register_buffer(name, buffer)
        for name, child in module.named_children():
            self.add_module(name, published(child))
        for name, value in attributes.items():
            setattr(self, name, value)

    def __reduce__(self) -> tuple[object, ...]:
        meta = {"type": "class", "version": 6, "module_src": SOURCE, "class_name": self.class_name}
        function = sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj
        return function, ({**meta, "state": self.__dict__},)


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.path}",)


def published(module: nn.Module) -> nn.Module:
    """The module as they would have it."""
    if isinstance(module, nn.ModuleDict):
        return nn.ModuleDict({name: published(child) for name, child in module.items()})
    if isinstance(module, Network):
        return Published("SongUNet", module, _init_args=(), _init_kwargs=arguments(module.config))
    return Published(type(module).__name__, module)


def published_denoiser(denoiser: Denoiser[Network], kind: str | None = None) -> Published:
    """The denoiser as they would have it; `kind` instead of its own preconditioning."""
    found = Published(kind or denoiser.preconditioning, nn.Module(), sigma_data=denoiser.sigma_data, use_fp16=True)
    found.add_module("model", published(denoiser.network))
    return found


def arguments(config: NetworkConfig) -> dict[str, object]:
    """The arguments that their class was made with."""
    return {
        "img_resolution": config.resolution,
        "in_channels": config.channels,
        "out_channels": config.channels,
        "label_dim": config.classes,
        "augment_dim": config.augmentations,
        "model_channels": config.width,
        "channel_mult": list(config.multipliers),
        "num_blocks": config.blocks,
        "attn_resolutions": list(config.attention),
        "dropout": config.dropout,
        "embedding_type": config.embedding,
        "channel_mult_noise": config.embedding_width,
        "encoder_type": config.encoder,
        "decoder_type": "standard",
        "resample_filter": list(config.taps),
    }


def write_pickle(path: Path, denoiser: Denoiser[Network], trap: Path, kind: str | None = None) -> None:
    """Pickle a denoiser among other things, one of which must not be run."""
    with their_module():
        network = published_denoiser(denoiser, kind)
        content = {"ema": network, "loss_fn": Trap(trap), "augment_pipe": None, "dataset_kwargs": {"path": "x"}}
        path.write_bytes(pickle.dumps(content))


@contextmanager
def their_module() -> Iterator[None]:
    """The module in which their function lives, as long as it takes to name it."""
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    reconstruct.__module__, reconstruct.__qualname__ = module.__name__, "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = reconstruct  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "torch_utils", package)
        patch.setitem(sys.modules, "torch_utils.persistence", module)
        yield


def tiny(**settings: object) -> NetworkConfig:
    """A network of a few thousand parameters."""
    sizes: dict[str, object] = {
        "resolution": 8,
        "width": 16,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (4,),
        "augmentations": 3,
    }
    return NetworkConfig(**(sizes | settings))  # type: ignore[arg-type]


def randomised(denoiser: Denoiser[Network]) -> Denoiser[Network]:
    """The denoiser in evaluation mode, no parameter at its initial zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in denoiser.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return denoiser.eval().requires_grad_(False)
