"""PocketNet: a light SE(3)-equivariant score network that runs on matrix products."""

from domains.docking.networks.pocket_net.config import PocketNetConfig
from domains.docking.networks.pocket_net.network import PocketEncoding, PocketNet

__all__ = ["PocketEncoding", "PocketNet", "PocketNetConfig"]
