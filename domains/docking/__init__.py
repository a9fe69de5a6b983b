"""Docking: small molecules into protein pockets by diffusion on positions, orientations and torsions.

model = docking.load_model()
complexes, problems = docking.read("my_targets")
fit = docking.learn_grid(model, complexes, nfe=10)
poses = docking.dock(model, complexes, fit, samples=10, seed=0)
poses.write("out")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from domains.docking.dock_files import dock
    from domains.docking.docked_poses import DockedPoses
    from domains.docking.fits import learn_grid
    from domains.docking.networks.weights import DockingModel, load_model
    from domains.docking.poses.files import write_sdf
    from domains.docking.structures.complexes import read

__all__ = ["DockedPoses", "DockingModel", "dock", "learn_grid", "load_model", "read", "write_sdf"]

_HOMES = {
    "DockedPoses": "docked_poses",
    "DockingModel": "networks.weights",
    "dock": "dock_files",
    "learn_grid": "fits",
    "load_model": "networks.weights",
    "read": "structures.complexes",
    "write_sdf": "poses.files",
}


def __getattr__(name: str) -> object:
    # Imported when asked for: the networks take seconds, and workers that check poses need none of them.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
