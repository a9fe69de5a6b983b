"""AutoDock Vina's scoring function, differentiable and batched over the poses of a ligand.

E = Σ over pairs of five terms of the surface distance d = r - R_i - R_j (Å), with pairs beyond 8 Å left out (Trott &
Olson 2010, doi 10.1002/jcc.21334, table 1): two Gaussians, a parabola for d < 0, and two ramps, for hydrophobic pairs
and for hydrogen bonds. kcal/mol; lower is better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domains.docking.ranking.vina_types import AtomTypes, ligand_types, protein_types
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand
from domains.docking.structures.torsions import torsions

CUTOFF: Final = 8.0
"""Å between atoms."""

GAUSS1, GAUSS2, REPULSION, HYDROPHOBIC, HYDROGEN_BOND = -0.035579, -0.005156, 0.840245, -0.035069, -0.587439
TORSION: Final = 0.05846
"""Each torsion of the ligand divides the energy by a bit more: E / (1 + 0.05846 n)."""

_NEAR_BONDS: Final = 4  # atoms of the ligand that are fewer bonds apart do not act on each other
_TOUCHING: Final = 1e-4  # Å; closer atoms do not push each other, for there is no direction to do it in
_MARGIN: Final = 4.0  # Å that poses may move before an atom of the protein comes into reach that was left out


def pair_energy(r: Tensor, radii: Tensor, hydrophobic: Tensor, hydrogen_bond: Tensor) -> tuple[Tensor, Tensor]:
    """kcal/mol of pairs at distances `r` (..., P, Q), Å, and the derivative by `r`, kcal/mol/Å.

    Smooth in `r` but for the kinks of the ramps and the step at the cutoff, which is below 0.002 kcal/mol; the slope is
    that beside them.

    Args:
        r: not of a graph: the slope takes the place of automatic differentiation, which is three times slower.
        radii: (P, Q), sums of two.
        hydrophobic, hydrogen_bond: (P, Q), 0 or 1.
    """
    d = r - radii
    near, far = GAUSS1 * torch.exp(-4 * d.square()), GAUSS2 * torch.exp(-0.25 * (d - 3).square())
    overlap = d.clamp(max=0)
    greasy, bond = HYDROPHOBIC * hydrophobic, HYDROGEN_BOND * hydrogen_bond
    energy = near + far + REPULSION * overlap.square()
    energy += greasy * (1.5 - d).clamp(0, 1)
    energy += bond * (-d / 0.7).clamp(0, 1)
    slope = -8 * d * near - 0.5 * (d - 3) * far + 2 * REPULSION * overlap
    slope -= greasy * ((d > 0.5) & (d < 1.5))
    slope -= bond / 0.7 * ((d > -0.7) & (d < 0))
    reached = r < CUTOFF
    return energy * reached, slope * reached


@final
@dataclass(frozen=True, eq=False)
class Pairs:
    """What the pairs of P and Q atoms have in common, (P, Q) each."""

    radii: Tensor
    hydrophobic: Tensor
    hydrogen_bond: Tensor

    @staticmethod
    def of(first: AtomTypes, second: AtomTypes, dtype: torch.dtype) -> Pairs:
        """Of all pairs."""
        bond = np.outer(first.donor, second.acceptor) | np.outer(first.acceptor, second.donor)
        tables = (np.add.outer(first.radius, second.radius), np.outer(first.hydrophobic, second.hydrophobic), bond)
        return Pairs(*(torch.from_numpy(np.asarray(table)).to(dtype) for table in tables))

    def energy(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """See :func:`pair_energy`."""
        return pair_energy(r, self.radii, self.hydrophobic, self.hydrogen_bond)


@final
class _WithSlope(torch.autograd.Function):
    """Energies (S,) of positions (S, A, 3), with the derivatives (S, A, 3) that came with them."""

    @staticmethod
    def forward(ctx: Any, positions: Tensor, energy: Tensor, slope: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(slope)
        return energy

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (slope,) = ctx.saved_tensors
        return gradients[0][:, None, None] * slope, None, None


@final
class VinaEnergy:
    """Of the poses of one complex.

    Args:
        complex_: whose protein is taken as it is, not the pocket alone.
        near: (S, A, 3) Å, poses in the protein's frame; they may move by 4 Å.
        dtype: of the energies.

    Attributes:
        ligand: that of the complex, with the bonds that turn at room temperature.
    """

    def __init__(self, complex_: Complex, near: NDArray[np.float32], dtype: torch.dtype = torch.float32) -> None:
        protein = complex_.protein
        # A network may turn more: DiffDock's turns amides, which nothing here would hold flat.
        turning, turned = torsions(complex_.ligand.mol)
        self.ligand = ligand = replace(complex_.ligand, torsion_bonds=turning, torsion_mask=turned)
        points = near.reshape(-1, 3)
        rows = _within(protein.tree, points, CUTOFF + _MARGIN)
        own = ligand_types(ligand)
        # Far from the origin float32 would lose digits.
        self.origin = torch.from_numpy(points.mean(0)).to(dtype)
        self._protein = torch.from_numpy(protein.positions[rows]).to(dtype) - self.origin
        self._between = Pairs.of(own, protein_types(protein)[rows], dtype)
        self._within = Pairs.of(own, own, dtype)
        self._free = torch.from_numpy(free_pairs(ligand)).to(dtype)

    def between(self, positions: Tensor) -> Tensor:
        """Ligand with protein, (S,), of poses (S, A, 3) relative to `origin`."""
        x, others = positions.detach(), self._protein
        mode = "donot_use_mm_for_euclid_dist"  # which loses digits
        r = torch.cdist(x, others.expand(len(x), -1, -1), compute_mode=mode)
        energy, slope = self._between.energy(r)
        pull = slope / r.clamp(min=_TOUCHING)
        return _with_slope(positions, energy.sum((1, 2)), pull.sum(2, keepdim=True) * x - pull @ others)

    def within(self, positions: Tensor) -> Tensor:
        """Ligand with itself, (S,): pairs that torsions move against each other."""
        x = positions.detach()
        r = (x.unsqueeze(2) - x.unsqueeze(1)).norm(dim=-1)
        energy, slope = self._within.energy(r)
        pull = self._free * slope / r.clamp(min=_TOUCHING)
        pull = pull + pull.transpose(1, 2)
        return _with_slope(positions, (self._free * energy).sum((1, 2)), pull.sum(2, keepdim=True) * x - pull @ x)

    def __call__(self, positions: Tensor) -> Tensor:
        """Both, (S,): what is minimised."""
        return self.between(positions) + self.within(positions)

    def score(self, positions: Tensor) -> Tensor:
        """(S,) what Vina reports: ligand with protein, divided by 1 + 0.05846 torsions."""
        return self.between(positions) / (1 + TORSION * self.ligand.n_torsions)


def _with_slope(positions: Tensor, energy: Tensor, slope: Tensor) -> Tensor:
    total: Tensor = _WithSlope.apply(positions, energy, slope)  # type: ignore[no-untyped-call]
    return total


def free_pairs(ligand: Ligand) -> NDArray[np.bool_]:
    """(A, A), true above the diagonal where two atoms are 4 bonds or more apart and a torsion moves one of them."""
    apart = np.zeros((ligand.n_atoms, ligand.n_atoms), dtype=np.bool_)
    for side, (u, v) in zip(ligand.torsion_mask, ligand.torsion_bonds, strict=True):
        turned, fixed = side.copy(), ~side
        turned[v] = fixed[u] = False  # atoms on the axis do not move
        apart |= np.outer(turned, fixed) | np.outer(fixed, turned)
    return np.triu(apart & (ligand.hops >= _NEAR_BONDS), 1)


def _within(tree: object, points: NDArray[np.float32], reach: float) -> NDArray[np.intp]:
    found = tree.query_ball_point(points, reach)  # type: ignore[attr-defined]
    return np.array(sorted(set().union(*found)), dtype=np.intp)
