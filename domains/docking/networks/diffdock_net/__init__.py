"""DiffDockNet: DiffDock's architecture at the size of one CPU core, on e3nn and torch-geometric."""

from domains.docking.networks.diffdock_net.config import DiffDockNetConfig
from domains.docking.networks.diffdock_net.network import DiffDockEncoding, DiffDockNet

__all__ = ["DiffDockEncoding", "DiffDockNet", "DiffDockNetConfig"]
