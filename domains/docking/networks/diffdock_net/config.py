"""How large a DiffDockNet is and how far it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class DiffDockNetConfig:
    """Sizes of :class:`DiffDockNet`; lengths in Å."""

    scalars: int = 16
    """scalar channels of a node"""
    vectors: int = 4
    """channels of every other kind: vectors, axial vectors, pseudoscalars"""
    layers: int = 3
    """updates of the ligand's atoms; all kinds of channels are there from the third on"""
    residue_layers: int = 2
    """rounds of messages between residues"""
    degree: int = 2
    """highest degree of the spherical harmonics of edges"""
    radial: int = 16
    """Gaussians of the distance along an edge"""
    hidden: int = 32
    """width of the networks that give every edge its tensor-product weights"""
    ligand_reach: float = 5.0
    """atoms closer than this exchange messages, and so do a rotatable bond and the atoms around it"""
    residue_reach: float = 15.0
    """alpha carbons closer than this exchange messages"""
    cross_reach: float = 10.0
    """an atom and an alpha carbon exchange messages up to here at noise level zero ..."""
    cross_reach_per_sigma: float = 3.0
    """... and this much farther for every Å of translational noise"""
    dropout: float = 0.1
