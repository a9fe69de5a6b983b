"""Options of a screen, as the command line and Python give them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import tyro

from domains.docking.dock_options import Ranking
from domains.docking.networks.shipped import GENERAL
from domains.errors import InputError, InputProblem

SHARED: Final = (
    "nfe",
    "samples",
    "weights",
    "grid",
    "refine",
    "ranking",
    "stereo",
    "conformers",
    "seed",
    "device",
)
"""Options that mean what they mean in `ld3 dock`."""

_LEAST: Final = {
    "nfe": 1,
    "samples": 1,
    "seed": 0,
    "conformers": 1,
    "chunk": 1,
    "best": 1,
    "conformer_processes": 1,
    "ligand_seconds": 1,
}


@dataclass(frozen=True)
class ScreenOptions:
    """What a screen docks, and how."""

    protein: Annotated[Path, tyro.conf.Positional]
    """PDB or mmCIF file"""
    library: Annotated[Path, tyro.conf.Positional]
    """.smi, .sdf or .csv, gzipped or not, or .parquet: a ligand a record"""
    out: Path
    """folder for the results"""
    pocket: str | None = None
    """where to dock: a ligand file in its bound pose, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å); only weights that
    were trained for the whole protein need none"""
    drop: tuple[str, ...] = ()
    """molecules of the protein file to leave out: names of residues (LIG), places (A:301), or all-ligands"""
    keep: tuple[str, ...] = ()
    """molecules to keep; without either, those bound in the pocket that are no known cofactors are left out"""
    nfe: int = 5
    """network evaluations a pose"""
    grid: Path | None = None
    """a learned grid, as fits and benchmarks save it; without it, the one that comes with the weights"""
    samples: int = 10
    """poses a ligand"""
    refine: bool = True
    """move poses out of clashes before they are ranked, as ld3 dock does"""
    ranking: Ranking | None = None
    """what poses, and then ligands, are ordered by: consensus, residual, vina, combination or confidence, as for ld3
    dock"""
    stereo: Literal["one", "enumerate"] = "one"
    """of a ligand that leaves stereo open: dock one isomer, or all, and keep the best"""
    conformers: int = 1
    """conformers of a ligand that its poses start from, for sampling turns torsions only"""
    seed: int = 0
    """of conformers and poses"""
    weights: Path = GENERAL
    """general or demo, which come with the toolkit, a file of domains.docking.train, or the folder of a DiffDock
    release"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    best: int = 100
    """how many ligands best.sdf and best.csv hold"""
    chunk: int = 64
    """ligands that are done and kept together; what a kill costs at most is two chunks a worker"""
    smiles_column: str | None = None
    """of a .csv or .parquet library; without it the first of smiles, canonical_smiles, ligand_description"""
    name_column: str | None = None
    """without it the first of name, id, title and the like"""
    ligand_seconds: float = 60.0
    """a ligand whose conformer takes longer fails"""
    conformer_processes: int = 1
    """processes that make conformers while the ligands before are docked; with Ray, for each actor"""
    engine: Literal["local", "ray"] = "local"
    """this machine, or a Ray cluster"""
    address: str | None = None
    """of the Ray cluster; without it, one is started on this machine"""
    actors: int | None = None
    """workers on the Ray cluster; without it one for each GPU, or for every two CPUs"""

    def check(self) -> None:
        """Refuse what is impossible.

        Raises:
            InputError: naming the option, what is wrong with it, and the remedy.
        """
        for name, least in _LEAST.items():
            if not (value := getattr(self, name)) >= least:
                option = f"--{name.replace('_', '-')}"
                raise InputError(InputProblem(option, "", f"got {value}", f"give a number >= {least}"))
        if self.engine == "local" and (self.address is not None or self.actors is not None):
            option = "--address" if self.address is not None else "--actors"
            raise InputError(InputProblem(option, "", "the engine is local", "add --engine ray"))
        if self.actors is not None and self.actors < 1:
            raise InputError(InputProblem("--actors", "", f"got {self.actors}", "give a number >= 1"))
