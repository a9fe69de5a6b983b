"""The docking benchmark end to end: what it writes, against independent figures; stopped, resumed, changed."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_runs import QUICK, QUICK_FIT, Run, benchmark, without_timings, write_complexes, write_weights
from docking_models import model
from matplotlib.image import imread
from rdkit import Chem
from rich.console import Console
from spyrmsd import molecule, rmsd
from torch import Tensor

from benchmarks.docking.checks import spread
from benchmarks.docking.inputs import IN_SAMPLE, KNOWN_TARGETS, UNSEEN_TARGETS, USER, load
from benchmarks.docking.methods import diffdock_methods, grid_methods
from benchmarks.docking.options import Options, check
from benchmarks.docking.run import run
from domains.docking.general_grids import grid_path
from domains.docking.networks.score import ScoreNetwork, Scores
from domains.docking.networks.weights import load_weights
from domains.docking.poses.low_temperature_sde import PUBLISHED, LowTemperature
from domains.docking.settings import TEACHER
from domains.docking.structures.batch import ComplexBatch
from domains.docking.structures.complexes import read
from domains.docking.training.data import SPLITS
from ld3.grids import HAND_MADE
from ld3.learn import FitResult
from ld3.solvers import get_solver

DIFFDOCK = ("diffdock_sde", "plain_sde", "diffdock_ode", "plain_sde_c", "diffdock_ode_c")

Bench = Callable[..., Run]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def complexes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_complexes(tmp_path_factory.mktemp("complexes"), "1uou")


@pytest.fixture(scope="module")
def quick(weights: Path, complexes: Path) -> tuple[str | Path, ...]:
    """1uou, three poses, without PoseBusters."""
    return "--weights", weights, "--complexes", complexes, "--posebusters", "0", *QUICK


@pytest.fixture
def bench(quick: tuple[str | Path, ...], tmp_path: Path) -> Bench:
    return lambda *arguments, out="out": benchmark(tmp_path / out, *quick, *arguments)


@pytest.fixture(scope="module")
def first(quick: tuple[str | Path, ...], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with a fit that several tests look at."""
    return benchmark(tmp_path_factory.mktemp("first") / "out", *quick, *QUICK_FIT)


@pytest.mark.slow
def test_four_complexes_end_to_end(weights: Path, tmp_path: Path) -> None:
    found = benchmark(tmp_path / "out", "--weights", weights, *QUICK, *QUICK_FIT, "--posebusters", "4")
    assert found.status == 0
    results, rows = found.results, found.rows
    assert results["complete"]
    assert results["split"] == USER, "nothing is known of weights that are not the demo's"
    assert results["score_scale"] == 2.0
    expected = {("teacher", 4)} | {(name, 19 if name == "diffdock_sde" else 20) for name in DIFFDOCK}
    assert set(rows) == expected | {(name, 4) for name in ("learned", *HAND_MADE)}
    assert {row["name"]: row["pocket"] for row in results["complexes"]}["1ia1"] == "ligand, 6 Å: 21 residues"
    for row in rows.values():
        assert (row["n_complexes"], row["n_poses"], row["failed"]) == (4, 12, 0)
        assert row["n_checked"] == 4
        assert row["score_scale"] == (1.0 if row["method"] in ("diffdock_sde", "plain_sde", "diffdock_ode") else 2.0)
        assert row["valid"] in (0, 0.25, 0.5, 0.75, 1)
        assert row["valid_ci"][0] <= row["valid"] <= row["valid_ci"][1]
        assert row["ms_per_pose"] > 0
    (fit,) = results["fit"]
    assert fit["loss_learned"] <= min(fit["hand_made"].values())
    assert rows["uniform_log_snr", 4]["same_as"] == "uniform_t"
    # The teacher here is the students' solver at 4 NFE: its own grid by hand must find its poses again.
    for row in found.poses_of(TEACHER.grid):
        assert row["rmsd_to_teacher"] < 1e-3
    assert min(row["rmsd_to_teacher"] for row in found.poses_of("diffdock_sde")) > 0.1
    for name in ("success_vs_nfe.png", "grids.png"):
        picture = imread(found.out / name)
        assert picture[..., :3].std() > 0.02, f"{name} is blank"


def test_figures_follow_from_the_sdf_files(first: Run, complexes: Path) -> None:
    """RMSD, success, best of N and distinct poses, from the files alone, by spyrmsd."""
    found = first
    assert found.status == 0
    supplied = Chem.MolFromMolFile(str(complexes / "1uou" / "ligands.sdf"))
    reference = molecule.Molecule.from_rdkit(supplied)
    reference.strip()

    def distances(to: Any, written: list[Any]) -> list[float]:  # noqa: ANN401
        graph = reference.atomicnums, written[0].atomicnums, reference.adjacency_matrix, written[0].adjacency_matrix
        values: list[float] = rmsd.symmrmsd(to.coordinates, [pose.coordinates for pose in written], *graph)
        return values

    for method in ("learned", "diffdock_sde", "teacher"):
        rows = found.poses_of(method)
        file = found.out / "sdf" / "1uou/1uou" / f"{method}_nfe{rows[0]['nfe']}.sdf"
        written = [molecule.Molecule.from_rdkit(mol) for mol in Chem.SDMolSupplier(str(file))]
        independent = np.array(distances(reference, written))
        np.testing.assert_allclose([row["rmsd"] for row in rows], independent, atol=1e-3)
        row = found.rows[method, rows[0]["nfe"]]
        assert row["median_rmsd"] == pytest.approx(np.median(independent), abs=1e-3)
        assert row["success_2A"] == pytest.approx(np.mean(independent < 2))
        assert row["success_5A"] == pytest.approx(np.mean(independent < 5))
        assert row["best_2A"] == float((independent < 2).any())
        apart = [all(distances(written[i], [written[j]])[0] > 1 for j in range(i)) for i in range(len(written))]
        assert row["distinct"] == sum(apart), "all are apart in a run of so few poses, or joined to the first"


class WatchedNet(ScoreNetwork[Any]):
    """A network that calls `on_score` with the number of poses before every evaluation."""

    def __init__(self, network: ScoreNetwork[Any], on_score: Callable[[int], None]) -> None:
        super().__init__()
        self.network, self.config = network, network.config
        self._on_score = on_score  # public attributes are part of a network's hash

    def encode(self, batch: ComplexBatch) -> Any:  # noqa: ANN401
        return self.network.encode(batch)

    def score(
        self,
        encoding: Any,  # noqa: ANN401
        complex_row: Tensor,
        positions: Tensor,
        sigma: Mapping[str, Tensor],
    ) -> Scores:
        self._on_score(len(complex_row))
        return self.network.score(encoding, complex_row, positions, sigma)


def test_an_interrupted_run_goes_on(weights: Path, complexes: Path, tmp_path: Path) -> None:
    """What was docked before is not docked again, and the results are those of a run that was not interrupted."""
    model = load_weights(weights)
    log = Console(file=io.StringIO())

    def go(out: str, stop_after: int | None = None) -> tuple[list[int], dict[str, Any], str]:
        options = Options(
            nfe=(4,), complexes=complexes, samples=3, teacher_nfe=4, posebusters=0, weights=weights, out=tmp_path / out
        )
        calls: list[int] = []

        def on_score(poses: int) -> None:
            if len(calls) == stop_after:
                raise KeyboardInterrupt
            calls.append(poses)

        network = WatchedNet(model.network, on_score)
        try:
            run(check(options), replace(model, network=network), load(options, model), {}, log)
        except KeyboardInterrupt:
            assert stop_after is not None
        results = json.loads((options.out / "results.json").read_text())
        return calls, results, (options.out / "poses.jsonl").read_text()

    calls, whole, poses = go("whole")
    timing = 2 * (4 + 19 + 4 * 20 + 4 * 4)  # one pose at a time
    assert calls[-timing:] == [1] * timing
    docking = calls[:-timing]
    assert docking == [3] * len(docking)
    stopped, results, _ = go("out", stop_after=len(docking) - 2 * 4)
    assert not results["complete"]
    made = ["uniform_t", "quadratic_t", "uniform_log_snr"]
    assert [row["method"] for row in results["rows"]] == ["teacher", *DIFFDOCK, *made]
    again, results, found = go("out")
    assert len(again) == 2 * 4 + timing, "edm, dmn, and the timing"
    assert found == poses
    assert without_timings(results) == without_timings(whole)
    assert len(go("out")[0]) == timing
    assert len(stopped) == len(docking) - 2 * 4


def test_other_options_in_the_same_folder_are_not_mixed_up(first: Run, bench: Bench, tmp_path: Path) -> None:
    assert not any("other options" in line for line in first.errors)
    shutil.copytree(first.out, tmp_path / "out")
    old = set(first.results["files"])
    second = bench("--nfe", "2", "--samples", "2")
    assert any(line.startswith("note:") and "other options" in line for line in second.errors), second.errors
    assert {nfe for _, nfe in second.rows} == {4, 19, 20, 2}
    assert {row["n_poses"] for row in second.rows.values()} == {2}
    assert [row["rmsd"] for row in second.poses_of("teacher")] == pytest.approx(
        [row["rmsd"] for row in first.poses_of("teacher")][:2], abs=1e-3
    ), "a pose is a function of complex, seed, sample and method"
    assert {str(p.relative_to(second.out)) for p in second.out.glob("sdf/**/*.sdf")} == set(second.results["files"])
    assert old - set(second.results["files"])


def test_fitted_and_shipped_grids(first: Run, bench: Bench, weights: Path, tmp_path: Path) -> None:
    """A fit is made when it is asked for; saved, it needs no fit; beside the weights, the table leads with it."""
    assert ("shipped", 4) not in first.rows
    assert any("no row 'shipped'" in remark for remark in first.results["remarks"])
    (entry,) = first.results["fit"]
    saved = first.out / entry["file"]
    again = bench("--grid", saved, out="again")
    (fit,) = again.results["fit"]
    assert (entry["fitted_here"], fit["fitted_here"]) == (True, False)
    assert fit["loss_learned"] == entry["loss_learned"]
    assert again.poses_of("learned") == first.poses_of("learned")
    copy = tmp_path / "mine" / weights.name
    path = grid_path(copy, "dpmpp_2m", 4)
    path.parent.mkdir(parents=True)
    shutil.copyfile(weights, copy)
    replace(FitResult.load(saved), test=None).save(path)  # too few poses to pass it
    shipped = bench("--weights", copy, out="shipped")
    assert not shipped.results["fit"]
    methods = [row["method"] for row in shipped.results["rows"]]
    assert methods == ["teacher", *DIFFDOCK, "shipped", *HAND_MADE]
    for figure in ("rmsd", "cluster", "sample"):
        assert [p[figure] for p in shipped.poses_of("shipped")] == [p[figure] for p in first.poses_of("learned")]
    assert FitResult.load(path).grid == FitResult.load(saved).grid
    assert "shipped minus diffdock_sde, success at 2 Å: " in shipped.stdout
    other = bench("--weights", copy, "--score-scale", "3", out="other")
    assert ("shipped", 4) not in other.rows
    assert any("at score scale 3" in remark for remark in other.results["remarks"])


def test_a_smiles_gets_poses_and_no_rmsd(bench: Bench, complexes: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    path = complexes / "1uou/protein.pdb"
    table.write_text(
        "complex_name,protein_path,ligand_description,protein_sequence\n"
        f"toluic acid,{path},Cc1ccccc1C(=O)O,\nbenzene,{path},c1ccccc1,\n"
    )
    centre = read()[0][3].pocket.origin
    found = bench("--complexes", table, "--pocket", "point:" + ",".join(f"{x:.1f}" for x in centre) + ",8")
    assert found.status == 0
    row = found.rows["edm", 4]
    assert (row["n_complexes"], row["n_references"], row["n_poses"]) == (2, 0, 6)
    assert row["success_2A"] is row["best_2A"] is row["success_2A_ci"] is row["median_rmsd"] is None
    assert row["rmsd_to_teacher"] is not None
    assert row["distinct"] >= 1
    assert found.results["paired"] == []
    (record, *_) = Chem.SDMolSupplier(str(found.out / "sdf/toluic_acid/edm_nfe4.sdf"))
    assert Chem.MolToSmiles(record) == "Cc1ccccc1C(=O)O"
    assert np.linalg.norm(record.GetConformer().GetPositions().mean(0) - centre) < 25


def test_fresh_conformers_keep_the_bound_pose(first: Run, bench: Bench) -> None:
    fresh = bench("--conformer", "rdkit")
    assert fresh.status == 0
    assert first.poses_of("edm")[0]["rmsd"] != fresh.poses_of("edm")[0]["rmsd"]

    def bonds(found: Run) -> np.ndarray[Any, Any]:
        (mol, *_) = Chem.SDMolSupplier(str(found.out / "sdf/1uou/1uou/teacher_nfe4.sdf"))
        x = mol.GetConformer().GetPositions()
        return np.array([np.linalg.norm(x[b.GetBeginAtomIdx()] - x[b.GetEndAtomIdx()]) for b in mol.GetBonds()])

    difference = np.abs(bonds(first) - bonds(fresh))
    assert 1e-3 < difference.max() < 0.2


def test_a_list_names_complexes_or_whole_proteins(tmp_path: Path) -> None:
    folder = write_complexes(tmp_path / "complexes", "1of6", "1s3v", "1uou")
    names = tmp_path / "names.txt"
    names.write_text("# held out\n1uou/1uou\n1of6\n1s3v/other\n")
    found = load(Options(complexes=folder, only=names), model())
    assert [c.name for c in found.complexes] == ["1of6/1of6", "1uou/1uou"]
    (problem,) = found.problems
    assert str(problem).startswith(f"{names}, 1s3v/other: there is no such complex to dock; ")
    assert found.split == USER


def test_splits_are_named_for_what_the_weights_know(weights: Path, complexes: Path) -> None:
    demo, general = Path("demo"), Path("general")
    assert load(Options(weights=demo), model()).split == IN_SAMPLE
    assert load(Options(), model()).split == load(Options(weights=general), model()).split == UNSEEN_TARGETS
    assert load(Options(weights=weights), model()).split == USER
    assert load(Options(complexes=complexes), model()).split == USER
    lists = {
        "validation_ligands.txt": (KNOWN_TARGETS, KNOWN_TARGETS),
        # Of two of these the general model saw a protein that is like it.
        "validation_targets.txt": (UNSEEN_TARGETS, USER),
        "validation_clusters.txt": (USER, UNSEEN_TARGETS),
    }
    for file, splits in lists.items():
        for name, split in zip((demo, general), splits, strict=True):
            assert load(Options(complexes=complexes, only=SPLITS / file, weights=name), model()).split == split
        assert load(Options(complexes=complexes, only=SPLITS / file, weights=weights), model()).split == USER


def test_diffdock_runs_at_both_score_scales_and_at_its_temperatures() -> None:
    methods = {method.name: method.score_scale for method in diffdock_methods(model(7.0))}
    at_one, at_seven = dict.fromkeys(DIFFDOCK[:3], 1.0), dict.fromkeys(DIFFDOCK[3:], 7.0)
    assert methods == at_one | at_seven
    assert [method.name for method in diffdock_methods(model(1.0))] == list(DIFFDOCK[:3])
    assert len({method.key for method in diffdock_methods(model(7.0))}) == 5
    chosen = LowTemperature(PUBLISHED.temperatures, 12, 12)
    first = diffdock_methods(replace(model(7.0), low_temperature=chosen))[0]
    assert (first.nfe, diffdock_methods(model(7.0))[0].nfe) == (12, 19)


def test_hand_made_grids_that_are_equal_share_a_key(weights: Path) -> None:
    clock = load_weights(weights).noise_range.clock(3.0)
    methods = {method.name: method for method in grid_methods(clock, get_solver("dpmpp_2m"), 5, None, None)}
    assert tuple(methods) == tuple(HAND_MADE)
    assert methods["uniform_log_snr"].key == methods["uniform_t"].key
    assert methods["uniform_log_snr"].same_as == "uniform_t"
    assert len({method.key for method in methods.values()}) == len(HAND_MADE) - 1


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
    assert len(results["rows"]) == 1 + len(DIFFDOCK) + len(HAND_MADE)
    assert all(row["n_checked"] == 1 for row in results["rows"])
