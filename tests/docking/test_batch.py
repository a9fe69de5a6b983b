"""What `collate` puts where, entry by entry from the complexes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from docking_models import complexes, stiff

from domains.docking.networks.pocket_net.ligand_encoder import pair_channels
from domains.docking.structures.batch import collate

MEMBERS = (*complexes(), stiff(complexes()[0]))


@pytest.mark.parametrize("k", range(len(MEMBERS)))
def test_rows_are_the_complexes_and_zeros(k: int) -> None:
    batch, complex_ = collate(MEMBERS), MEMBERS[k]
    ligand, pocket = complex_.ligand, complex_.pocket
    a, r, p = ligand.n_atoms, ligand.n_torsions, len(pocket.positions)
    bonds = np.zeros((a, a), dtype=np.int64)
    for (i, j), kind in zip(ligand.bond_index.T, ligand.bond_type, strict=True):
        bonds[i, j] = kind + 1
    expected = {
        "conformer": ligand.positions - pocket.origin,
        "atom_mask": np.ones(a, dtype=bool),
        "atom_features": ligand.atom_features,
        "bond_type": bonds,
        "hops": ligand.hops,
        "torsion_bonds": ligand.torsion_bonds,
        "torsion_side": ligand.torsion_mask,
        "torsion_mask": np.ones(r, dtype=bool),
        "pocket_positions": pocket.positions - pocket.origin,
        "pocket_mask": np.ones(p, dtype=bool),
        "pocket_element": pocket.element,
        "pocket_residue": pocket.residue,
        "pocket_atom_name": pocket.atom_name,
    }
    for name, value in expected.items():
        row = getattr(batch, name)[k].numpy()
        np.testing.assert_array_equal(row[tuple(slice(n) for n in value.shape)], value, err_msg=name)
        assert np.count_nonzero(row) == np.count_nonzero(value), name
    np.testing.assert_array_equal(batch.origin[k], pocket.origin)
    assert batch.names[k] == complex_.name
    assert len(batch) == len(MEMBERS)


def test_pairs_have_one_channel() -> None:
    """The kind of bond, or 2, 3, or more bonds apart; none with itself or with padding."""
    batch = collate(MEMBERS)
    channels = pair_channels(batch).transpose(2, 3)
    real = batch.atom_mask.unsqueeze(1) & batch.atom_mask.unsqueeze(2)
    pairs = real & ~torch.eye(real.shape[1], dtype=torch.bool)
    assert torch.equal(channels.sum(-1), pairs.float())
    assert torch.equal(channels[..., :5].any(-1), batch.bond_type > 0)
    assert torch.equal(
        channels[..., 5:].argmax(-1)[pairs & (batch.bond_type == 0)] + 2, batch.hops[pairs & (batch.bond_type == 0)]
    )


def test_moving_to_a_device_keeps_everything() -> None:
    batch = collate(MEMBERS)
    moved = batch.to("meta")
    assert moved.names == batch.names
    assert moved.hops.shape == batch.hops.shape
    assert all(getattr(moved, name).is_meta for name in ("origin", "conformer", "atom_mask", "pocket_element"))


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one complex"):
        collate([])
