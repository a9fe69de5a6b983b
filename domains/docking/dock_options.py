"""What can be said about docking, whether on a command line or in Python; needs none of the docking packages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from domains.docking.networks.shipped import GENERAL

AROUND_LIGAND: Final = "ligand"
WHOLE_PROTEIN: Final = "protein"

Ranking = Literal["combination", "consensus", "residual", "vina", "confidence"]


@dataclass(frozen=True, kw_only=True)
class DockOptions:
    """How ligands are docked and ranked."""

    pocket: str | None = None
    """where to dock: ligand (around the ligand's own pose), a ligand FILE that lies in the pocket, point:X,Y,Z, or
    protein; ligand:RADIUS, FILE:RADIUS and point:X,Y,Z,RADIUS say how far residues reach (Å); without it, ligand, or
    protein for weights that were trained for the whole of it (DiffDock's)"""
    drop: tuple[str, ...] = ()
    """molecules of the protein file to leave out: names of residues (LIG), places (A:301), or all-ligands"""
    keep: tuple[str, ...] = ()
    """molecules to keep; without either, those bound in a pocket that is not put around the ligand are left out"""
    nfe: int = 10
    """network evaluations a pose"""
    samples: int = 40
    """poses a ligand; the more, the likelier is a right one among them"""
    weights: Path = GENERAL
    """general or demo, which come with the toolkit, a file of domains.docking.train, or the folder of a DiffDock
    release"""
    grid: Path | None = None
    """a learned grid, as fits and benchmarks save it; without it, the one that comes with the weights"""
    seed: int = 0
    """of all random numbers"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the matrix products; bfloat16 moves poses by hundredths of an ångström, float16 by less, a few of them far"""
    template: tuple[str, ...] = ()
    """SMILES of ligands whose bond orders are lost in their files"""
    stereo: Literal["one", "enumerate"] = "one"
    """of a SMILES that leaves stereo open: dock one isomer, or each as a ligand of its own"""
    conformers: int = 1
    """conformers of a ligand that its poses start from; sampling turns torsions, so that rings and macrocycles keep the
    shape of theirs"""
    known_poses: bool = False
    """the ligand files hold bound poses, to which RMSDs are added; said already by a pocket around the ligand itself"""
    refine: bool = True
    """move every pose to the nearest minimum of Vina's scoring function, by torsions and rigid motion"""
    ranking: Ranking | None = None
    """what the poses are ordered by: consensus (how many ended near a pose), residual (how far the network still wants
    to move it), vina (Vina's score after local optimisation), the combination that was chosen for the weights, or
    the confidence model of a DiffDock release; without it, that model where the weights bring one, else the
    combination"""
    check: bool = True
    """ask PoseBusters about every pose"""
