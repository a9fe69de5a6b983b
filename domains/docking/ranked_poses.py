"""Poses of one ligand, best first, with all that is known of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.outlook import Made, Outlook
from domains.docking.poses.files import posed
from domains.docking.poses.metrics import clusters, symmetric_rmsd
from domains.docking.poses.validity import Validity
from domains.docking.ranking.consensus import CUTOFF, symmetries
from domains.docking.ranking.ranker import PoseScores
from domains.docking.ranking.track_record import agreement
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket import is_whole
from domains.docking.structures.symmetry import keeping_bond_orders


@final
@dataclass(frozen=True)
class RankedPose:
    """One pose.

    Attributes:
        mol: heavy atoms at the pose, Å, in the protein's frame, with all below as properties.
        rank: 1 is the best.
        score: higher is better.
        parts: what the score is made of.
        cluster: number of its cluster at 2 Å, 1 is that of the best pose.
        sample: which of the ligand's samples it was.
        moved: Å, RMSD by which refinement moved it; None without refinement.
        rmsd: Å, to the known pose; None where there is none.
        rmsd_keeping_bond_orders: the same over symmetries that keep bond orders, as RDKit's CalcRMS counts it.
        validity: what PoseBusters says; None where it was not asked.
    """

    mol: Chem.Mol
    rank: int
    score: float
    parts: Mapping[str, float]
    cluster: int
    sample: int
    moved: float | None
    rmsd: float | None
    rmsd_keeping_bond_orders: float | None
    validity: Validity | None


@final
@dataclass(frozen=True, eq=False)
class RankedPoses:
    """The S poses of one ligand that did not fail, best first.

    Attributes:
        complex: what was docked.
        positions: (S, A, 3) Å, in the protein's frame.
        samples: (S,) which of the ligand's samples each one is.
        scores: of each.
        moved: (S,) Å, RMSD by which refinement moved each; None without refinement.
        validities: what PoseBusters says of each; None where it was not asked.
        failed: samples whose coordinates are not finite.
        tags: what all of them have in common: nfe, seed, grid, weights.
        seconds: stage -> wall time.
        outlook: what can be expected of them; None = nothing is said.
    """

    complex: Complex
    positions: NDArray[np.float32]
    samples: NDArray[np.intp]
    scores: PoseScores
    moved: NDArray[np.float64] | None
    validities: tuple[Validity, ...] | None
    failed: tuple[int, ...]
    tags: Mapping[str, str]
    seconds: Mapping[str, float]
    outlook: Outlook | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[RankedPose]:
        rmsd, strict, cluster = self.rmsd, self.rmsd_keeping_bond_orders, self.clusters
        for i in range(len(self)):
            validity = None if self.validities is None else self.validities[i]
            pose = RankedPose(
                mol=posed(self.complex.ligand.mol, self.positions[i]),
                rank=i + 1,
                score=float(self.scores.score[i]),
                parts={name: float(part[i]) for name, part in self.scores.parts.items()},
                cluster=int(cluster[i]),
                sample=int(self.samples[i]),
                moved=None if self.moved is None else float(self.moved[i]),
                rmsd=None if rmsd is None else float(rmsd[i]),
                rmsd_keeping_bond_orders=None if strict is None else float(strict[i]),
                validity=validity,
            )
            pose.mol.SetProp("_Name", self.complex.name)
            for key, value in self.sdf_tags(pose).items():
                pose.mol.SetProp(key, value)
            yield pose

    @property
    def best(self) -> RankedPose:
        """The first one."""
        return next(iter(self))

    @property
    def clusters(self) -> NDArray[np.intp]:
        """(S,) at 2 Å, symmetry-corrected, numbered from 1 in the order of their best poses."""
        return clusters(self.positions, symmetries(self.complex), CUTOFF) + 1

    @property
    def best_cluster_size(self) -> int:
        """Poses in the cluster of the best one, itself included."""
        return int((self.clusters == 1).sum())

    @property
    def expectation(self) -> tuple[str, ...]:
        """What a person should know about the best pose, in sentences."""
        if self.outlook is None:
            return ()
        agreeing = round(agreement(self.positions, 0, symmetries(self.complex)) * (len(self) - 1))
        made = Made(
            agreeing=agreeing,
            poses=len(self),
            failed=len(self.failed),
            ranked_by=tuple(self.scores.parts),
            refined=self.moved is not None,
            whole=is_whole(self.complex.pocket),
        )
        return self.outlook.sentences(self.complex.protein, made)

    @property
    def rmsd(self) -> NDArray[np.float64] | None:
        """(S,) Å, symmetry-corrected, to the known pose; None where there is none."""
        if self.complex.reference is None:
            return None
        return symmetric_rmsd(self.positions, self.complex.reference, symmetries(self.complex))

    @property
    def rmsd_keeping_bond_orders(self) -> NDArray[np.float64] | None:
        """(S,) Å, as :attr:`rmsd` over symmetries that keep bond orders; never smaller than it."""
        if self.complex.reference is None:
            return None
        permutations = keeping_bond_orders(self.complex.ligand, symmetries(self.complex))
        return symmetric_rmsd(self.positions, self.complex.reference, permutations)

    def sdf_tags(self, pose: RankedPose) -> dict[str, str]:
        """What a file of poses says of one."""
        tags = {"rank": str(pose.rank), "score": f"{pose.score:.4f}"}
        tags |= {f"score_{name}": f"{part:.4f}" for name, part in pose.parts.items()}
        tags |= {"cluster": str(pose.cluster), "sample": str(pose.sample)}
        if pose.validity is not None:
            tags["valid"] = {True: "yes", False: "no", None: "not known"}[pose.validity.valid]
            if pose.validity.failed:
                tags["failed_checks"] = ", ".join(pose.validity.failed)
        if pose.moved is not None:
            tags["moved_by_refinement"] = f"{pose.moved:.3f}"
        if pose.rmsd is not None:
            tags["rmsd"] = f"{pose.rmsd:.3f}"
            strict = f"{pose.rmsd_keeping_bond_orders:.3f}"
            if strict != tags["rmsd"]:
                tags["rmsd_keeping_bond_orders"] = strict
        return tags | dict(self.tags)
