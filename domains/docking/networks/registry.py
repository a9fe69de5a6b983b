"""The score networks there are, by the names that command lines and weights files call them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final, Literal

from domains.docking.networks.diffdock_net import DiffDockNet, DiffDockNetConfig
from domains.docking.networks.pocket_net import PocketNet, PocketNetConfig
from domains.docking.networks.score import ScoreNetwork

NetworkName = Literal["pocket", "diffdock"]
NetworkConfig = PocketNetConfig | DiffDockNetConfig

FIRST: Final[NetworkName] = "pocket"
"""What weights files are for that name no network: there was no other one when they were written."""

_CONFIGS: Final[Mapping[str, type[NetworkConfig]]] = {"pocket": PocketNetConfig, "diffdock": DiffDockNetConfig}


def build(config: NetworkConfig) -> ScoreNetwork[Any]:
    """The network of those sizes, with random weights."""
    return PocketNet(config) if isinstance(config, PocketNetConfig) else DiffDockNet(config)


def describe(config: NetworkConfig) -> dict[str, Any]:
    """Plain values that :func:`config_of` reads."""
    (name,) = (name for name, kind in _CONFIGS.items() if isinstance(config, kind))
    return {"architecture": name, "network": asdict(config)}


def config_of(description: Mapping[str, Any]) -> NetworkConfig:
    """The sizes that :func:`describe` wrote.

    Raises:
        ValueError: if there is no such architecture.
        KeyError, TypeError: if the sizes are missing, or not those of this architecture.
    """
    name = description.get("architecture", FIRST)
    if name not in _CONFIGS:
        raise ValueError(f"architecture must be one of {', '.join(_CONFIGS)}, got {name!r}")
    return _CONFIGS[name](**description["network"])
