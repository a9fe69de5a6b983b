"""The engine: a pose depends on weights, complex, seed, sample and method alone; files; what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from docking_models import SMALL, complexes, stiff
from rdkit import Chem

from domains.docking.docked_poses import DockedPoses
from domains.docking.engine import dock, dock_by_teacher, make_groups
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.poses.flow import DockingFlow
from domains.docking.poses.pose import Poses
from domains.docking.samplers import Sampler, grid_sampler, hand_made_sampler, plain_sde
from domains.docking.structures.complexes import Complex
from ld3 import get_solver
from ld3.grids import HAND_MADE
from ld3.learn import Teacher
from ld3.solvers import Noise

ROUNDING = 2e-3  # Å, of float32 through a few steps of an untrained network


@pytest.fixture(scope="module")
def model() -> DockingModel:
    torch.manual_seed(0)
    return DockingModel(PocketNet(SMALL).eval().requires_grad_(False), NoiseRange(), 3.0)


def members() -> tuple[Complex, ...]:
    """Five complexes, one of a ligand that cannot turn."""
    return (*complexes(), stiff(complexes()[0]))


def starts(model: DockingModel, found: Sequence[Complex], samples: int, at_once: int = 16) -> dict[str, np.ndarray]:
    groups = make_groups(model, found, samples, 7, at_once)
    return {name: x for group in groups for name, x in group.by_complex(group.start.positions)}


def test_a_start_is_the_same_to_the_last_bit_whatever_is_docked_beside_it(model: DockingModel) -> None:
    """In one batch, in several, alone, in another order, and with another number of samples."""
    together = starts(model, members(), 3, at_once=64)
    for found, samples, at_once in (
        (members(), 3, 3),
        (members()[::-1], 3, 8),
        (members()[1:3], 5, 64),
        *(([one], 2, 16) for one in members()),
    ):
        for name, poses in starts(model, found, samples, at_once).items():
            n = min(samples, 3)
            np.testing.assert_array_equal(poses[:n], together[name][:n])
    poses = np.concatenate([together[name].mean(1) - together[name].mean((0, 1)) for name in together])
    assert len(np.unique(poses.round(3), axis=0)) == len(poses)  # no two complexes or samples share their noise


@pytest.mark.parametrize("sampler", [hand_made_sampler("edm", "dpmpp_2m", 4), plain_sde(None, 4)])
def test_a_pose_is_the_same_to_rounding_whatever_is_docked_beside_it(model: DockingModel, sampler: Sampler) -> None:
    together = dock(model, members(), sampler, samples=3, seed=7, at_once=64)
    others = [
        dock(model, members()[::-1], sampler, samples=3, seed=7, at_once=3),
        dock(model, members()[2:3], sampler, samples=5, seed=7),
        dock(model, members()[:2], sampler, samples=1, seed=7),
    ]
    for other in others:
        for name, poses in other.positions.items():
            n = min(3, len(poses))
            np.testing.assert_allclose(poses[:n], together.positions[name][:n], atol=ROUNDING)
    elsewhere = dock(model, members(), sampler, samples=3, seed=8)
    for name, poses in elsewhere.positions.items():
        assert np.abs(poses - together.positions[name]).max() > 0.5


def test_a_sampler_is_given_its_score_scale_and_poses_come_back_in_the_proteins_frame(model: DockingModel) -> None:
    seen = []

    def stay(flow: DockingFlow, start: Poses, noise: Noise, on_step: object) -> Poses:
        seen.append(flow.clock.score_scale)
        return start

    for c in (None, 1.5):
        docked = dock(model, members(), Sampler(stay, "stay", 1, c), samples=2, seed=7)
        assert docked.score_scale == (c or model.score_scale)
        for name, poses in starts(model, members(), 2).items():
            np.testing.assert_array_equal(docked.positions[name], poses)
    assert set(seen) == {3.0, 1.5}
    for found in members():
        origin = found.pocket.origin
        far = np.linalg.norm(docked.positions[found.name].mean(1) - origin, axis=-1)
        assert far.max() < 5 * 5.0 * np.sqrt(3)  # five standard deviations of the prior


def test_progress_counts_every_evaluation(model: DockingModel) -> None:
    seen: list[tuple[int, int]] = []
    sampler = hand_made_sampler("edm", "heun", 4)
    dock(model, members(), sampler, samples=3, at_once=4, on_progress=lambda *done: seen.append(done))
    assert seen[-1] == (4 * 15, 4 * 15)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    groups = make_groups(model, members(), 2, 0, 4)
    dock_by_teacher(groups, Teacher(nfe=4, checked=3), on_progress=lambda *done: seen.append(done))
    assert seen[-1][0] == seen[-1][1]


def test_the_teacher_ends_where_its_solver_does(model: DockingModel) -> None:
    teacher = Teacher(solver="ddim", grid="edm", nfe=6, checked=1)
    docked, disagreement = dock_by_teacher(make_groups(model, members(), 2, 7, 4), teacher)
    direct = dock(model, members(), hand_made_sampler("edm", "ddim", 6), samples=2, seed=7, at_once=4)
    for name, poses in direct.positions.items():
        np.testing.assert_array_equal(docked.positions[name], poses)
    assert (disagreement > 0).all()


class Kept(dict[str, dict[str, torch.Tensor]]):
    """A cache in memory."""

    tensors = dict.get

    def put_tensors(self, key: str, value: Mapping[str, torch.Tensor]) -> None:
        self[key] = dict(value)


def test_finished_groups_are_found_again(model: DockingModel) -> None:
    """Under a name that changes with all that the poses depend on."""
    cache, calls = Kept(), []

    def counted(flow: DockingFlow, start: Poses, noise: Noise, on_step: object) -> Poses:
        calls.append(len(start.complex_row))
        return start

    def run(c: float | None = None, seed: int = 0, model: DockingModel = model) -> DockedPoses:
        return dock(model, members(), Sampler(counted, "counted", 1, c), samples=2, seed=seed, cache=cache)

    first = run()
    n = len(calls)
    again = run()
    assert len(calls) == n
    assert again.ms_per_pose == first.ms_per_pose
    run(1.0)
    run(seed=1)
    run(model=replace(model, noise_range=NoiseRange(tr=(0.1, 6.0))))
    assert len(calls) == 4 * n


def test_files_hold_the_poses_that_did_not_fail(model: DockingModel, tmp_path: Path) -> None:
    def broken(flow: DockingFlow, start: Poses, noise: Noise, on_step: object) -> Poses:
        positions = start.positions.clone()
        if flow.batch.names[0] == "1of6":
            positions[1] = float("nan")
        return start._replace(positions=positions)

    docked = dock(model, complexes()[:2], Sampler(broken, "broken", 1), samples=3, seed=3, at_once=3)
    assert docked.failed == [("1of6", 1)]
    docked.write(tmp_path / "out")
    content = json.loads((tmp_path / "out" / "poses.json").read_text())
    assert content["complexes"]["1of6"]["failed"] == [1]
    assert content["complexes"]["1of6"]["rmsd"][1] is None
    assert content["complexes"]["1ia1"]["seed"] == docked.seeds["1ia1"]
    assert (content["seed"], content["samples"], content["score_scale"]) == (3, 3, 3.0)
    assert content["versions"]["torch"] == torch.__version__
    for name, samples in (("1ia1", [0, 1, 2]), ("1of6", [0, 2])):
        read = list(Chem.SDMolSupplier(str(tmp_path / "out" / content["complexes"][name]["file"])))
        assert [int(mol.GetProp("sample")) for mol in read] == samples
        for mol, i in zip(read, samples, strict=True):
            np.testing.assert_allclose(mol.GetConformer().GetPositions(), docked.positions[name][i], atol=6e-5)


def test_a_ligand_too_symmetric_to_compare_keeps_its_poses(model: DockingModel, tmp_path: Path) -> None:
    """A centre with all other atoms around it, all alike: as many symmetries as they have orders."""
    found = complexes()[0]
    star = Chem.RWMol()
    for _ in range(found.ligand.n_atoms):
        star.AddAtom(Chem.Atom(15))
    for i in range(1, found.ligand.n_atoms):
        star.AddBond(0, i, Chem.BondType.SINGLE)
    star.AddConformer(Chem.Conformer(found.ligand.n_atoms))
    n = found.ligand.n_atoms - 1
    bonds = np.stack(
        [np.tile([0, 1], n) * np.arange(1, n + 1).repeat(2), np.tile([1, 0], n) * np.arange(1, n + 1).repeat(2)]
    )
    ligand = replace(
        stiff(found).ligand, mol=star.GetMol(), bond_index=bonds, bond_type=np.zeros(2 * n, dtype=np.int64)
    )
    odd = replace(found, ligand=ligand)
    dock(model, [odd, complexes()[1]], hand_made_sampler("edm", "ddim", 2), samples=1).write(tmp_path)
    entries = json.loads((tmp_path / "poses.json").read_text())["complexes"]
    assert entries["1ia1"]["rmsd"] is None
    assert "symmetries" in entries["1ia1"]["remarks"][-1]
    assert (tmp_path / entries["1ia1"]["file"]).exists()
    assert len(entries["1of6"]["rmsd"]) == 1


def test_mistakes_are_refused_before_anything_is_computed(model: DockingModel) -> None:
    one = members()[:1]
    with pytest.raises(ValueError, match="the number of complexes must be at least 1"):
        dock(model, [], hand_made_sampler("edm", "ddim", 2))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        dock(model, one, hand_made_sampler("edm", "ddim", 2), samples=0)
    with pytest.raises(ValueError, match="names of their own, got '1ia1' twice"):
        dock(model, [*one, *one], hand_made_sampler("edm", "ddim", 2))
    with pytest.raises(ValueError, match="nfe must be a positive multiple of 1"):
        dock(model, one, 0)
    with pytest.raises(ValueError, match="grid must be one of"):
        hand_made_sampler("cubic", "ddim", 3)
    with pytest.raises(ValueError, match="name must be one of"):
        hand_made_sampler("edm", "rk4", 3)


def test_a_grid_docks_like_its_sampler(model: DockingModel) -> None:
    grid = HAND_MADE["edm"](model.noise_range.clock(model.score_scale), 3)
    by_grid, by_sampler = (
        dock(model, members(), method, samples=1).positions
        for method in (grid, grid_sampler(grid, get_solver("dpmpp_2m")))
    )
    for name, poses in by_grid.items():
        np.testing.assert_array_equal(by_sampler[name], poses)
