"""Local optimisation of a ligand's poses in its pocket: torsions and rigid motion, by Vina's scoring function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domains.docking.poses import kinematics
from domains.docking.ranking.vina_energy import VinaEnergy
from domains.docking.refine.bfgs import minimise
from domains.docking.structures.complexes import Complex

_LARGEST: Final = (0.3, 0.3, 0.3, 0.2, 0.2, 0.2)  # of one step: Å, rad
_LARGEST_TURN: Final = 0.3  # rad, of a torsion


class Refined(NamedTuple):
    """What became of S poses.

    positions  (S, A, 3) float32, Å, in the protein's frame.
    moved      (S,) Å, RMSD to where they were.
    score      (S,) kcal/mol, Vina's score there.
    """

    positions: NDArray[np.float32]
    moved: NDArray[np.float64]
    score: NDArray[np.float64]


@final
@dataclass(frozen=True)
class Refinement:
    """How poses are moved.

    Attributes:
        restraint: kcal/mol/Å², on the mean square of how far atoms are from where they were; 0 lets them go.
        steps: of the minimiser, at most.
    """

    restraint: float = 0.0
    steps: int = 120

    def __call__(self, complex_: Complex, positions: NDArray[np.float32]) -> Refined:
        """Refine poses (S, A, 3), Å, in the protein's frame, all of them finite.

        Bond lengths, angles, rings, amides and double bonds stay as they are, whatever the network turns.
        """
        energy = VinaEnergy(complex_, positions)
        start = torch.from_numpy(positions) - energy.origin
        ligand = energy.ligand
        bonds, sides = torch.from_numpy(ligand.torsion_bonds), torch.from_numpy(ligand.torsion_mask)

        def moved(x: Tensor, from_: Tensor) -> Tensor:
            many = len(x), -1, -1
            flexed = kinematics.flex(from_, bonds.expand(many), sides.expand(many), x[:, 6:])
            mask = torch.ones(from_.shape[:2], dtype=torch.bool)
            return kinematics.move_rigidly(flexed, mask, x[:, :3], x[:, 3:6])

        def total(x: Tensor, poses: Tensor) -> Tensor:
            old = start[poses]
            new = moved(x, old)
            return energy(new) + self.restraint * (new - old).square().sum(-1).mean(1)

        largest = torch.tensor([*_LARGEST, *[_LARGEST_TURN] * ligand.n_torsions])
        with torch.no_grad():
            end = moved(minimise(total, start.new_zeros(len(start), len(largest)), self.steps, largest), start)
            shift = (end - start).square().sum(-1).mean(1).sqrt().double().numpy()
            return Refined((end + energy.origin).numpy(), shift, energy.score(end).double().numpy())
