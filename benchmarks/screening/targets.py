"""Targets of the enrichment measurement: receptors, their known ligands, and decoys like them in their properties.

There are no decoy sets here. The decoys of a target are ligands of other targets, the nearest in their properties that
are dissimilar in their structures: presumed not to bind, which nobody has measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem, DataStructs
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from domains.docking.structures.ligand_files import read_sdf
from domains.errors import InputProblem

SIMILAR: Final = 0.35
"""Tanimoto similarity (Morgan, radius 2) to any known ligand of the target, from which on a ligand is no decoy."""

_BITS: Final = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)


@final
@dataclass(frozen=True)
class Target:
    """One receptor and where its known ligands are, below the folder of data.

    Attributes:
        name: as tables call it.
        receptor: folder of protein.pdb and ligands.sdf; the pocket is around the first ligand.
        actives: pattern of the folders with its known ligands.
        alike: words that mark other folders of the same protein, which give no decoys.
        seen: whether the demo weights were trained on the target.
    """

    name: str
    receptor: str
    actives: str
    alike: tuple[str, ...]
    seen: bool


TARGETS: Final = (
    Target("p38", "fep_plus/jacs_set__p38", "fep_plus/jacs_set__p38", ("p38",), seen=True),
    Target("MMP12", "complexes/plrex__MMP12_3EHX", "complexes/plrex__MMP12_*", ("MMP12",), seen=False),
)


def actives(data: Path, target: Target) -> list[Chem.Mol]:
    """The known ligands, each once."""
    return _distinct(_ligands(sorted(data.glob(target.actives))))


def decoys(data: Path, target: Target, known: Sequence[Chem.Mol], per_active: int) -> list[Chem.Mol]:
    """At most `per_active` for each known ligand: one after the other takes the nearest that is left."""
    folders = sorted(
        path
        for path in (data / "fep_plus").iterdir()
        if not any(word.lower() in path.name.lower() for word in target.alike)
    )
    prints = [_BITS.GetFingerprint(mol) for mol in known]
    pool = [
        mol
        for mol in _distinct(_ligands(folders))
        if max(DataStructs.BulkTanimotoSimilarity(_BITS.GetFingerprint(mol), prints)) < SIMILAR
    ]
    of_pool, of_known = (np.array([properties(mol) for mol in mols]) for mols in (pool, known))
    spread = of_pool.std(0) + 1e-9
    free = np.ones(len(pool), dtype=np.bool_)
    chosen: list[Chem.Mol] = []
    for _ in range(per_active):
        for own in of_known:
            if free.any():
                distance = np.linalg.norm((of_pool - own) / spread, axis=1)
                nearest = int(np.where(free, distance, np.inf).argmin())
                free[nearest] = False
                chosen.append(pool[nearest])
    return chosen


def properties(mol: Chem.Mol) -> NDArray[np.float64]:
    """What decoys are matched by, as DUD-E does: mass, logP, rotatable bonds, donors, acceptors, charge."""
    return np.array(
        [
            rdMolDescriptors.CalcExactMolWt(mol),
            rdMolDescriptors.CalcCrippenDescriptors(mol)[0],
            rdMolDescriptors.CalcNumRotatableBonds(mol),
            rdMolDescriptors.CalcNumHBD(mol),
            rdMolDescriptors.CalcNumHBA(mol),
            Chem.GetFormalCharge(mol),
        ]
    )


def _ligands(folders: Sequence[Path]) -> Iterator[Chem.Mol]:
    for folder in folders:
        for ligand in read_sdf(folder / "ligands.sdf"):
            if not isinstance(ligand, InputProblem):
                yield ligand.mol


def _distinct(mols: Iterator[Chem.Mol]) -> list[Chem.Mol]:
    return list({Chem.MolToSmiles(mol): mol for mol in mols}.values())
