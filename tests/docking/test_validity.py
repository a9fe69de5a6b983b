"""Validity against PoseBusters run by itself on the whole protein."""

from __future__ import annotations

import gzip
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
from numpy.typing import NDArray
from posebusters import PoseBusters
from posebusters.modules.intermolecular_distance import check_intermolecular_distance
from posebusters.modules.volume_overlap import check_volume_overlap

from domains.docking.poses.files import write_sdf
from domains.docking.poses.validity import Validity, check_all
from domains.docking.structures.complexes import Complex, read
from domains.docking.structures.protein_files import read_protein

NOT_OURS = {"rmsd_≤_2å"}


@pytest.fixture(scope="module")
def complexes() -> dict[str, Complex]:
    return {complex_.name: complex_ for complex_ in read()[0]}


def reference(complex_: Complex) -> NDArray[np.float32]:
    assert complex_.reference is not None
    return complex_.reference


def moved(complex_: Complex, seed: int) -> NDArray[np.float32]:
    """The bound pose shifted by nothing, a little, into the protein and far away, and one with its atoms shaken."""
    rng = np.random.default_rng(seed)
    bound = reference(complex_)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    shifted = [bound + distance * direction for distance in (0.0, 0.3, 1.5, 6.0, 60.0)]
    shaken = bound + rng.normal(size=bound.shape) * 0.4
    return np.stack([*shifted, shaken]).astype(np.float32)


def failed_by_posebusters(complex_: Complex, poses: NDArray[np.float32], folder: Path) -> list[set[str]]:
    """Names of the checks that fail in PoseBusters' own run on files, the RMSD apart."""
    predicted, true = folder / "poses.sdf", folder / "ligand.sdf"
    write_sdf(predicted, complex_.ligand, poses, [{}] * len(poses))
    write_sdf(true, complex_.ligand, complex_.ligand.positions[None], [{}])
    table = PoseBusters("redock").bust(predicted, true, complex_.protein.path)
    return [{name for name, passed in row.items() if not passed} - NOT_OURS for _, row in table.iterrows()]


@pytest.mark.filterwarnings("ignore")  # of PoseBusters itself
def test_verdicts_are_posebusters_own(complexes: dict[str, Complex], tmp_path: Path) -> None:
    complex_ = complexes["1ia1"]
    bound = reference(complex_)
    atoms = gemmi.read_structure(str(complex_.protein.path))[0].all()
    cofactor = np.array([site.atom.pos.tolist() for site in atoms if site.residue.name == "NDP"])
    away = cofactor[:, None] - bound
    nearest = away.reshape(-1, 3)[np.linalg.norm(away, axis=-1).argmin()]
    on_cofactor = (bound + 0.6 * nearest).astype(np.float32)
    poses = np.concatenate([moved(complex_, seed=0), on_cofactor[None]])
    (answers,) = check_all([(complex_, poses)], processes=1)
    expected = failed_by_posebusters(complex_, poses, tmp_path)
    assert [set(validity.failed) for validity in answers] == expected
    assert [validity.valid for validity in answers] == [not failed for failed in expected]
    assert answers[0] == Validity(True)
    assert answers[4].failed == ("protein-ligand_maximum_distance",)
    assert "bond_lengths" in answers[5].failed
    assert "minimum_distance_to_organic_cofactors" in answers[6].failed


def test_each_pose_has_its_own_verdict(complexes: dict[str, Complex]) -> None:
    """A bound pose, one that is not finite and a mirror image in 20 900 atoms; another complex besides."""
    steps: list[tuple[int, int]] = []
    large, small = complexes["1of6"], complexes["1uou"]
    bound = reference(large)
    broken, mirrored = bound.copy(), bound * np.array([1, 1, -1]) + 2 * bound.mean(0) * np.array([0, 0, 1])
    broken[0, 0] = np.nan
    jobs = [(large, np.stack([bound, broken, mirrored])), (small, reference(small)[None])]
    answers = check_all(jobs, on_pose=lambda *step: steps.append(step))
    assert answers[0][:2] == [Validity(True), Validity(False, ("Finite coordinates",))]
    assert "tetrahedral_chirality" in answers[0][2].failed
    assert answers[1] == [Validity(True)]
    assert steps[-1] == (3, 3)


def test_protein_formats_give_the_same_verdict(complexes: dict[str, Complex], tmp_path: Path) -> None:
    complex_ = complexes["1uou"]
    poses = moved(complex_, 0)[[0, 2]]
    structure = gemmi.read_structure(str(complex_.protein.path))
    structure.setup_entities()
    structure[0][0].name = "Along"  # a name that PDB has no room for
    cif, zipped = tmp_path / "protein.cif", tmp_path / "protein.pdb.gz"
    structure.make_mmcif_document().write_file(str(cif))
    zipped.write_bytes(gzip.compress(complex_.protein.path.read_bytes()))
    jobs: list[tuple[Complex, NDArray[Any]]] = [
        (replace(complex_, protein=read_protein(path)), poses) for path in (complex_.protein.path, cif, zipped)
    ]
    plain, from_cif, from_zipped = check_all(jobs, processes=1)
    assert plain == from_cif == from_zipped
    assert [validity.valid for validity in plain] == [True, False]


def test_too_little_time_is_no_verdict(complexes: dict[str, Complex]) -> None:
    complex_ = complexes["1s3v"]
    (answers,) = check_all([(complex_, np.stack([reference(complex_)] * 3))], processes=1, timeout_s=0.01)
    assert [validity.valid for validity in answers] == [None] * 3
    assert answers[0].reason == "it took more than 0.01 s"
    assert answers[2].reason == "not tried, for 2 like it took more than 0.01 s"


@pytest.mark.parametrize("check", [check_intermolecular_distance, check_volume_overlap])
def test_posebusters_looks_no_further_than_8_angstrom(check: Callable[..., object]) -> None:
    """What is cut away of the protein cannot matter as long as this holds."""
    assert inspect.signature(check).parameters["search_distance"].default <= 6.0
    modules = PoseBusters("redock").config["modules"]
    assert all("search_distance" not in module.get("parameters", {}) for module in modules)
    assert all(module.get("parameters", {}).get("max_distance", 0.0) <= 6.0 for module in modules)


def test_wrong_shape_is_named(complexes: dict[str, Complex]) -> None:
    with pytest.raises(ValueError, match=r"positions of 1s3v must have shape \(n, 27, 3\), got \(2, 5, 3\)"):
        check_all([(complexes["1s3v"], np.zeros((2, 5, 3)))])
