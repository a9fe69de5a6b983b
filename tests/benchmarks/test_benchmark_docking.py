"""The docking benchmark end to end: what it writes, against independent figures; stopped, resumed, changed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmark_runs import Run, benchmark, short_fits, write_complexes, write_weights
from benchmarks.docking.pose_checks import spread
from benchmarks.docking.pose_files import folder_names
from matplotlib.image import imread
from rdkit import Chem
from spyrmsd import molecule, rmsd

from benchmarks.docking import methods as docking_methods
from benchmarks.docking.inputs import load, make_groups
from benchmarks.docking.methods import hand_made
from benchmarks.docking.options import Options, check
from domains.docking.networks.weights import load_weights
from domains.docking.poses.flow import DockingFlow
from domains.docking.settings import TEACHER
from domains.docking.structures.complexes import load_posebusters
from ld3.learn import FitResult
from ld3.solvers import get_solver

HAND_MADE = ("uniform_t", "quadratic_t", "uniform_log_snr", "edm", "dmn")
QUICK = ("--samples", "3", "--nfe", "4", "--teacher-nfe", "4", "--fit-poses", "5")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_weights(tmp_path / "small.safetensors")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    short_fits(monkeypatch)


Bench = Callable[..., Run]


@pytest.fixture
def bench(short: None, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    """Run on 1uou, three poses, without PoseBusters."""
    complexes = write_complexes(tmp_path / "complexes", "1uou")

    def run(*arguments: str | Path, out: str = "out") -> Run:
        given = ("--weights", weights, "--complexes", complexes, "--posebusters", "0", *QUICK, *arguments)
        return benchmark(capsys, tmp_path / out, *given)

    return run


def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that gets the number of poses of every network evaluation."""
    found: list[int] = []
    original = DockingFlow.displacement

    def counted(self: DockingFlow, x: Any, levels: Any) -> Any:  # noqa: ANN401
        found.append(len(x.complex_row))
        return original(self, x, levels)

    monkeypatch.setattr(DockingFlow, "displacement", counted)
    return found


def without_timings(results: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on whether a run was interrupted."""
    rows = [{k: v for k, v in row.items() if k != "ms_per_pose"} for row in results["rows"]]
    fits = [{k: v for k, v in fit.items() if k != "seconds"} for fit in results["fit"]]
    return {"rows": rows, "fit": fits, "paired": results["paired"], "teacher": results["teacher"]}


@pytest.mark.slow
def test_four_complexes_end_to_end(
    short: None, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = benchmark(capsys, tmp_path / "out", "--weights", weights, *QUICK, "--posebusters", "4")
    assert run.status == 0
    results, rows = run.results, run.rows
    assert results["complete"]
    assert results["split"] == "in-sample"
    assert "in-sample" in run.stdout
    assert results["score_scale"] == 2.0
    expected = {("teacher", 4), ("diffdock_sde", 20), ("diffdock_ode", 20)}
    assert set(rows) == expected | {(name, 4) for name in ("learned", *HAND_MADE)}
    assert {row["name"]: row["pocket"] for row in results["complexes"]}["1ia1"] == "ligand, 6 Å: 21 residues"
    for row in rows.values():
        assert (row["n_complexes"], row["n_poses"], row["failed"]) == (4, 12, 0)
        low, high = row["success_5A_ci"]
        assert 0 <= low <= row["success_5A"] <= high <= 1
        assert row["n_checked"] == 4
        assert row["score_scale"] == (1.0 if row["method"].startswith("diffdock") else 2.0)
        assert row["valid"] in (0, 0.25, 0.5, 0.75, 1)
    (fit,) = results["fit"]
    assert fit["loss_learned"] <= fit["loss_hand"] == min(fit["hand"].values())
    assert rows["uniform_log_snr", 4]["same_as"] == "uniform_t"
    # The teacher here is the students' solver at 4 NFE: its own grid by hand must find its poses again.
    for row in run.poses_of(TEACHER.grid):
        assert row["rmsd_to_teacher"] < 1e-4
    assert min(row["rmsd_to_teacher"] for row in run.poses_of("diffdock_sde")) > 0.1
    for name in ("success_vs_nfe.png", "grids.png"):
        picture = imread(run.out / name)
        assert picture[..., :3].std() > 0.02, f"{name} is blank"


def test_figures_follow_from_the_sdf_files(bench: Bench, tmp_path: Path) -> None:
    run = bench()
    assert run.status == 0
    assert run.results["split"] == "user"
    supplied = Chem.MolFromMolFile(str(tmp_path / "complexes" / "1uou" / "ligands.sdf"))
    reference = molecule.Molecule.from_rdkit(supplied)
    reference.strip()
    for method in ("learned", "diffdock_sde", "teacher"):
        rows = run.poses_of(method)
        file = run.out / "sdf" / "1uou/1uou" / f"{method}_nfe{rows[0]['nfe']}.sdf"
        written = [molecule.Molecule.from_rdkit(mol) for mol in Chem.SDMolSupplier(str(file))]
        independent = rmsd.symmrmsd(
            reference.coordinates,
            [pose.coordinates for pose in written],
            reference.atomicnums,
            written[0].atomicnums,
            reference.adjacency_matrix,
            written[0].adjacency_matrix,
        )
        np.testing.assert_allclose([row["rmsd"] for row in rows], independent, atol=1e-3)
        row = run.rows[method, rows[0]["nfe"]]
        assert row["median_rmsd"] == pytest.approx(np.median(independent), abs=1e-3)
        assert row["success_2A"] == pytest.approx(np.mean(np.array(independent) < 2))
        assert row["success_5A"] == pytest.approx(np.mean(np.array(independent) < 5))


def test_an_interrupted_run_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bench(out="whole")
    original = docking_methods.integrate
    calls = 0

    def interrupted(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        nonlocal calls
        calls += 1
        if calls == 2:  # the first hand-made grid: teacher, DiffDock, the fit and the learned grid are done
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(docking_methods, "integrate", interrupted)
    stopped = bench()
    assert stopped.status == 130
    assert stopped.errors == [f"stopped; the same command goes on from here ({stopped.out})"]
    assert not stopped.results["complete"]
    assert set(stopped.rows) == {("teacher", 4), ("diffdock_sde", 20), ("diffdock_ode", 20), ("learned", 4)}
    monkeypatch.setattr(docking_methods, "integrate", original)
    made = evaluations(monkeypatch)
    resumed = bench()
    assert resumed.status == 0
    assert made == [3] * 4 * 4  # the four hand-made grids that differ, and nothing else
    assert without_timings(resumed.results) == without_timings(whole.results)
    assert resumed.poses == whole.poses
    made.clear()
    assert bench().poses == whole.poses
    assert made == []


def test_other_options_in_the_same_folder_are_not_mixed_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench()
    old = set(first.results["files"])
    assert not any("other options" in line for line in first.errors)
    made = evaluations(monkeypatch)
    second = bench("--nfe", "2")
    assert any(line.startswith("note:") and "other options" in line for line in second.errors), second.errors
    assert {nfe for _, nfe in second.rows} == {4, 20, 2}
    assert second.rows["teacher", 4] == first.rows["teacher", 4]
    assert made.count(3) == 2 * 5  # learned and hand-made grids of 2 NFE
    assert {str(p.relative_to(second.out)) for p in second.out.glob("sdf/**/*.sdf")} == set(second.results["files"])
    assert old - set(second.results["files"])
    third = bench("--nfe", "2", "--samples", "2")
    assert {row["n_poses"] for row in third.rows.values()} == {2}


def test_a_saved_grid_is_used_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench()
    saved = first.out / first.results["fit"][0]["file"]
    made = evaluations(monkeypatch)
    again = bench("--grid", saved, out="again")
    assert again.status == 0
    assert sum(made) == 3 * (4 + 2 * 4 + 20 + 20 + 5 * 4)  # teacher and its check, DiffDock's, five grids; no fit
    (fit,) = again.results["fit"]
    assert not fit["fitted_here"]
    assert fit["loss_learned"] == first.results["fit"][0]["loss_learned"]
    assert again.poses_of("learned") == first.poses_of("learned")
    assert str(FitResult.load(again.out / fit["file"]).grid) == str(FitResult.load(saved).grid)


def test_a_pose_that_is_not_finite_fails_by_name_and_counts(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    original = docking_methods.sample_ode

    def broken(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        end = original(*arguments, **options)
        end.positions[1, 3] = torch.nan
        return end

    monkeypatch.setattr(docking_methods, "sample_ode", broken)
    run = bench()
    assert run.status == 0
    good, bad, other = run.poses_of("diffdock_ode")
    assert bad["failed"] == "NaN or infinite coordinates"
    assert bad["rmsd"] is bad["rmsd_to_teacher"] is bad["centroid_distance"] is None
    assert good["failed"] is other["failed"] is None
    row = run.rows["diffdock_ode", 20]
    assert row["failed"] == 1
    assert row["median_rmsd"] == pytest.approx(max(good["rmsd"], other["rmsd"]))  # the failure stands at +inf
    assert row["success_5A"] == pytest.approx(((good["rmsd"] < 5) + (other["rmsd"] < 5)) / 3)
    records = Chem.SDMolSupplier(str(run.out / "sdf/1uou/1uou/diffdock_ode_nfe20.sdf"))
    assert [record.GetProp("sample") for record in records] == ["0", "2"]


def test_failed_teacher_poses_are_kept_out_of_the_fit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.docking import fits as docking_fits

    original = docking_fits.run_teacher

    def broken(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        pairs = original(*arguments, **options)
        pairs.end.positions[0] = torch.inf
        return pairs

    monkeypatch.setattr(docking_fits, "run_teacher", broken)
    run = bench()
    (fit,) = run.results["fit"]
    assert (fit["n_train"], fit["n_valid"]) == (3, 1)
    assert np.isfinite(fit["loss_learned"])
    assert any("1 of the teacher's poses for the fit are not finite" in line for line in run.errors)


def test_a_smiles_gets_poses_and_no_rmsd(bench: Bench, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    path = tmp_path / "complexes/1uou/protein.pdb"
    table.write_text(
        "complex_name,protein_path,ligand_description,protein_sequence\n"
        f"toluic acid,{path},Cc1ccccc1C(=O)O,\nbenzene,{path},c1ccccc1,\n"
    )
    centre = load_posebusters()[0][3].pocket.origin
    run = bench("--complexes", table, "--pocket", "point:" + ",".join(f"{x:.1f}" for x in centre) + ",8")
    assert run.status == 0
    row = run.rows["learned", 4]
    assert (row["n_complexes"], row["n_references"], row["n_poses"]) == (2, 0, 6)
    assert row["success_2A"] is row["success_2A_ci"] is row["median_rmsd"] is None
    assert row["rmsd_to_teacher"] >= 0
    assert [pair["metric"] for pair in run.results["paired"]] == ["rmsd_to_teacher"]
    (record, *_) = Chem.SDMolSupplier(str(run.out / "sdf/toluic_acid/learned_nfe4.sdf"))
    assert Chem.MolToSmiles(record) == "Cc1ccccc1C(=O)O"
    assert np.linalg.norm(record.GetConformer().GetPositions().mean(0) - centre) < 25


def test_fresh_conformers_keep_the_bound_pose(bench: Bench) -> None:
    given, fresh = bench(out="given"), bench("--conformer", "rdkit", out="fresh")
    assert fresh.status == 0
    assert given.poses_of("learned")[0]["rmsd"] != fresh.poses_of("learned")[0]["rmsd"]

    def bonds(run: Run) -> np.ndarray[Any, Any]:
        (mol, *_) = Chem.SDMolSupplier(str(run.out / "sdf/1uou/1uou/teacher_nfe4.sdf"))
        x = mol.GetConformer().GetPositions()
        return np.array([np.linalg.norm(x[b.GetBeginAtomIdx()] - x[b.GetEndAtomIdx()]) for b in mol.GetBonds()])

    difference = np.abs(bonds(given) - bonds(fresh))
    assert 1e-3 < difference.max() < 0.2


def test_groups_hold_every_complex_once_in_the_proteins_frame(weights: Path) -> None:
    complexes = tuple(load_posebusters()[0])
    for samples, sizes in ((2, [4]), (8, [2, 2]), (20, [1, 1, 1, 1])):
        choices = check(Options(samples=samples, out=weights.parent / "out", weights=weights))
        groups = make_groups(load_weights(weights), complexes, choices)
        assert [len(group.complexes) for group in groups] == sizes
        atoms = [c.ligand.n_atoms for group in groups for c in group.complexes]
        assert atoms == sorted(atoms)
        for group in groups:
            bound = group.flow.batch.conformer.repeat_interleave(samples, 0)
            for name, poses in group.by_complex(bound):
                (found,) = (c for c in complexes if c.name == name)
                np.testing.assert_allclose(poses, np.stack([found.ligand.positions] * samples), atol=1e-4)


def test_a_list_names_complexes_or_whole_proteins(weights: Path, tmp_path: Path) -> None:
    folder = write_complexes(tmp_path / "complexes", "1of6", "1s3v", "1uou")
    names = tmp_path / "names.txt"
    names.write_text("# held out\n1uou/1uou\n1of6\n1s3v/other\n")
    found = load(check(Options(complexes=folder, only=names, out=tmp_path / "out", weights=weights)))
    assert [c.name for c in found.complexes] == ["1of6/1of6", "1uou/1uou"]
    (problem,) = found.problems
    assert str(problem).startswith(f"{names}, 1s3v/other: there is no such complex to dock; ")


def test_hand_made_grids_that_are_equal_share_a_key(weights: Path) -> None:
    clock = load_weights(weights).noise_range.clock(3.0)
    methods = {p.method.name: p.method for p in hand_made(clock, get_solver("dpmpp_2m"), 5)}
    assert tuple(methods) == HAND_MADE
    assert methods["uniform_log_snr"].key == methods["uniform_t"].key
    assert methods["uniform_log_snr"].same_as == "uniform_t"
    assert len({method.key for method in methods.values()}) == 4


def test_no_name_of_a_complex_leads_out_of_the_folder() -> None:
    names = ["a/b", "../x", "..", "/etc/passwd", "a b", "a_b", "A_B", "", "ünïcode", "x\\y"]
    folders = folder_names(names)
    assert folders["a/b"] == "a/b"
    assert len({folder.lower() for folder in folders.values()}) == len(names)
    for folder in folders.values():
        assert not folder.startswith("/")
        assert not {"", ".", ".."} & set(folder.split("/"))


def test_checks_are_spread_over_the_complexes() -> None:
    assert spread(32, 4) == [8, 8, 8, 8]
    assert spread(0, 3) == [0, 0, 0]
    assert spread(2, 5) == [0, 0, 1, 0, 1]
    assert spread(7, 3) == [2, 2, 3]


@pytest.mark.slow
def test_a_killed_process_goes_on(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "benchmarks.docking", "--weights", str(weights), "--out", str(out), *QUICK]
    command += ["--complexes", str(write_complexes(tmp_path / "complexes", "1s3v")), "--posebusters", "1"]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 120
        while not (out / "poses.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    assert not json.loads((out / "results.json").read_text())["complete"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    results = json.loads((out / "results.json").read_text())
    assert results["complete"]
    assert len(results["rows"]) == 4 + len(HAND_MADE)  # teacher, learned, and DiffDock's two
    assert all(row["n_checked"] == 1 for row in results["rows"])
