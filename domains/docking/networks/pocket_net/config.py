"""How large a PocketNet is and how far it sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class PocketNetConfig:
    """Sizes of :class:`PocketNet`; lengths in Å."""

    scalars: int = 128
    """scalar channels of a ligand atom"""
    vectors: int = 32
    """vector channels of a ligand atom"""
    layers: int = 4
    """updates of the ligand's atoms"""
    message_scalars: int = 32
    """scalar channels that ligand atoms send to each other"""
    message_vectors: int = 8
    pocket_scalars: int = 24
    """scalar channels of an encoded pocket atom; twice as many while it is encoded"""
    pocket_vectors: int = 8
    pocket_basis: int = 16
    """radial functions between ligand and pocket"""
    pocket_range: float = 16.0
    """centre of the widest of them"""
    pocket_layers: int = 2
    """rounds of messages between pocket atoms"""
    pocket_edge: float = 5.0
    """pocket atoms closer than this exchange messages"""
    ligand_basis: int = 10
    """radial functions between ligand atoms, and between pocket atoms"""
    ligand_range: float = 10.0
    dropout: float = 0.1
