"""The score networks there are, by the names that command lines and weights files call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from domains.docking.networks.diffdock import DiffDock, DiffDockConfig, DiffDockScoreModel
from domains.docking.networks.pocket_net import PocketNet, PocketNetConfig
from domains.docking.networks.score import ScoreNetwork
from domains.docking.poses.diffusion import NoiseRange

NetworkConfig = PocketNetConfig | DiffDockConfig

FIRST: Final = "pocket"
"""What weights files are for that name no network: there was no other one when they were written."""

_CONFIGS: Final[Mapping[str, type[NetworkConfig]]] = {"pocket": PocketNetConfig, "diffdock": DiffDockConfig}


def build(config: NetworkConfig) -> ScoreNetwork[Any]:
    """The network of those sizes, with random weights."""
    return PocketNet(config) if isinstance(config, PocketNetConfig) else DiffDock(DiffDockScoreModel(config))


def describe(config: NetworkConfig) -> dict[str, Any]:
    """Plain values that :func:`config_of` reads, beside the noise range."""
    (name,) = (name for name, kind in _CONFIGS.items() if isinstance(config, kind))
    sizes = {key: value for key, value in asdict(config).items() if key != "noise"}
    return {"architecture": name, "network": sizes}


def config_of(description: Mapping[str, Any]) -> NetworkConfig:
    """The sizes that :func:`describe` wrote; `noise` of the description is the noise range.

    Raises:
        ValueError: if there is no such architecture.
        KeyError, TypeError: if the sizes are missing, or not those of this architecture.
    """
    name = description.get("architecture", FIRST)
    if name not in _CONFIGS:
        raise ValueError(f"architecture must be one of {', '.join(_CONFIGS)}, got {name!r}")
    if name == "pocket":
        return PocketNetConfig(**description["network"])
    return DiffDockConfig(**description["network"], noise=noise_of(description))


def noise_of(description: Mapping[str, Any]) -> NoiseRange:
    """The range under `noise`, as JSON has it.

    Raises:
        KeyError, TypeError, ValueError: if it is missing, or no range.
    """
    return NoiseRange(**{factor: (float(low), float(high)) for factor, (low, high) in description["noise"].items()})
