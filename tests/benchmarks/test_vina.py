"""Our scoring function against AutoDock Vina's own (extra `vina`), and Vina as a baseline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from docking_models import complexes

from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.vina_energy import VinaEnergy
from domains.docking.structures.complexes import Complex
from domains.docking.structures.symmetry import automorphisms

pytest.importorskip("vina")
pytest.importorskip("meeko")

from benchmarks.docking.vina import dock_by_vina, optimise_by_vina, prepared
from benchmarks.docking.vina_limit import dock_within


@pytest.mark.parametrize("complex_", complexes(), ids=lambda found: str(found.name))
def test_the_energy_is_vinas(complex_: Complex) -> None:
    """Ligand with protein, at the crystal pose; Vina interpolates maps of 0.375 Å, which is worth 1%."""
    expected = float(prepared(complex_, seed=1).score()[1])
    energy = VinaEnergy(complex_, complex_.ligand.positions[None], torch.float64)
    positions = torch.from_numpy(complex_.ligand.positions[None]).double() - energy.origin
    assert float(energy.between(positions)[0]) == pytest.approx(expected, rel=0.01)


@pytest.mark.slow
def test_vina_docks_in_the_same_pocket() -> None:
    """Its atoms come back in the ligand's order, at the crystal pose (uracil analogue of 1uou), best first."""
    (complex_,) = (found for found in complexes() if found.name == "1uou")
    assert complex_.reference is not None
    found = dock_by_vina(complex_, exhaustiveness=4, poses=5, seed=1)
    symmetries = automorphisms(complex_.ligand)
    assert symmetric_rmsd(found.positions, complex_.reference, symmetries).min() < 1.0
    assert (np.diff(found.scores) >= 0).all() and found.cpu_seconds > 0
    ends = complex_.ligand.bond_index
    assert np.linalg.norm(found.positions[:, ends[0]] - found.positions[:, ends[1]], axis=-1).max() < 2.0
    energy = VinaEnergy(complex_, found.positions)
    ours = energy.score(torch.from_numpy(found.positions) - energy.origin).numpy()
    # Where the unbound ligand's energy is its own, as Vina has it, the total is that with the protein.
    np.testing.assert_allclose(ours, found.scores, rtol=0.05)
    moved = optimise_by_vina(complex_, found.positions[:1])
    assert symmetric_rmsd(moved, found.positions[0], symmetries)[0] < 0.5
    with pytest.raises(ValueError, match="has no known pose"):
        dock_by_vina(replace(complex_, reference=None), exhaustiveness=1, poses=1, seed=1)


@pytest.mark.slow
def test_vina_is_stopped_at_its_limit_of_cpu_time_and_otherwise_finds_the_same(
    capfd: pytest.CaptureFixture[str],
) -> None:
    (complex_,) = (found for found in complexes() if found.name == "1uou")
    alone = dock_by_vina(complex_, exhaustiveness=1, poses=1, seed=1)
    found = dock_within(2.0, complex_, 1, 1, 1)
    assert found is not None and found.cpu_seconds > 0
    np.testing.assert_array_equal(found.positions, alone.positions)
    assert dock_within(1 / 60, complex_, 1000, 1, 1) is None
    with pytest.raises(RuntimeError, match="Vina's process on 1uou ended with status 1"):
        dock_within(1.0, replace(complex_, reference=None), 1, 1, 1)
    assert "has no known pose" in capfd.readouterr().err
