"""Screens: one row a record whatever happens, the same ligand once, the same result after kills and on Ray."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import screens
import slow_ligands
import torch
from rdkit import Chem
from screen_process import run, started
from screens import SMILES, many_smiles, options, rows, write_grid

from domains.docking import ranked_docking
from domains.docking.ranked_docking import DockPlan, dock_ranked
from domains.docking.ranked_poses import RankedPoses
from domains.docking.ranking.residual import Residual
from domains.docking.ranking.vina_energy import VinaEnergy
from domains.docking.screen import worker
from domains.docking.screen.molecules import key_of
from domains.docking.screen.run import read_job
from domains.docking.screen.worker import ChunkWorker
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import from_smiles
from domains.errors import InputError
from domains.seeds import seed_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    write_grid(path)
    return path


def library(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def finished(folder: Path) -> Path:
    """A screen of nine records, with everything that can be odd about one."""
    lines = [f"{smiles} ligand {i}" for i, smiles in enumerate(SMILES)]
    odd = ["this is none", "O=C(C)Nc1ccc(O)cc1 again", "CC(=O)Nc1ccc(O)cc1.Cl salted", "[Na+].[Cl-]"]
    run(options(folder, library(folder / "odd.smi", *lines, *odd), folder / "odd"))
    return folder / "odd"


def test_every_record_has_one_row_and_the_same_ligand_is_docked_once(finished: Path) -> None:
    found = rows(finished)
    assert [row["row"] for row in found] == list(range(1, 10))
    assert [row["status"] for row in found] == ["docked"] * 5 + ["failed", "duplicate", "duplicate", "failed"]
    assert [row["duplicate_of"] for row in found[6:8]] == [1, 1]
    assert [row["name"] for row in found[4:8]] == ["ligand 4", "is none", "again", "salted"]
    assert "left out Cl; docked is CC(=O)Nc1ccc(O)cc1" in found[7]["remarks"]
    with (finished / "failures.csv").open() as file:
        failed = list(csv.DictReader(file))
    assert [(row["row"], row["given"]) for row in failed] == [("6", "this"), ("9", "[Na+].[Cl-]")]
    assert "RDKit cannot read it" in failed[0]["reason"]
    assert "equally large" in failed[1]["reason"]
    content = json.loads((finished / "run.json").read_text())
    assert content["complete"] is True
    assert content["counts"] == {"docked": 5, "duplicate": 2, "failed": 2}


def test_the_best_poses_are_those_of_the_rows(finished: Path) -> None:
    """Best first; the atoms of the SDF are where the row says, bonded as the SMILES says."""
    by_row = {row["row"]: row for row in rows(finished)}
    poses = list(Chem.SDMolSupplier(str(finished / "best.sdf")))
    scores = [float(mol.GetProp("score")) for mol in poses]
    exact = sorted((row["score"] for row in by_row.values() if row["score"] is not None), reverse=True)
    np.testing.assert_allclose(scores, exact, atol=6e-5)
    for mol in poses:
        row = by_row[int(mol.GetProp("row"))]
        at = np.array(row["pose"]).reshape(-1, 3)
        np.testing.assert_allclose(mol.GetConformer().GetPositions(), at, atol=6e-5)
        flat = {Chem.MolToSmiles(m, isomericSmiles=False) for m in (mol, Chem.MolFromSmiles(row["smiles"]))}
        assert len(flat) == 1  # the pose has one form of a centre that the SMILES leaves open
        bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
        lengths = [float(np.linalg.norm(at[i] - at[j])) for i, j in bonds]
        assert min(lengths) > 1.1 and max(lengths) < 2.0
    with (finished / "best.csv").open() as file:
        assert [float(row["score"]) for row in csv.DictReader(file)] == scores


def test_a_ligand_is_docked_alike_wherever_it_stands(folder: Path) -> None:
    """Its pose is a function of weights, ligand, seed and sample, to rounding. Refinement, which may amplify rounding
    where an untrained model ends in clashes, is left out.
    """

    def found(name: str, lines: tuple[str, ...], chunk: int, seed: int = 0) -> list[dict[str, Any]]:
        path = library(folder / f"{name}.smi", *lines)
        run(options(folder, path, folder / name, chunk=chunk, seed=seed, refine=False))
        return rows(folder / name)

    before, after = found("one", SMILES, 3), found("other", ("CCO", SMILES[3], SMILES[0]), 2)
    for old, new in ((before[3], after[1]), (before[0], after[2])):
        np.testing.assert_allclose(old["pose"], new["pose"], atol=2e-3)
    reseeded = found("seed", ("CCO", SMILES[3], SMILES[0]), 2, seed=1)
    assert np.abs(np.array(reseeded[1]["pose"]) - after[1]["pose"]).max() > 0.5


def test_poses_are_refined_before_they_are_ranked(folder: Path, finished: Path) -> None:
    """Vina's score of what is written is that of its row, and better than without refinement."""
    path = library(folder / "plain.smi", *SMILES)
    run(options(folder, path, folder / "plain", refine=False))
    job, _ = read_job(options(folder, path, folder / "plain"))
    for refined, plain in zip(rows(finished), rows(folder / "plain"), strict=False):
        ligand = from_smiles(refined["smiles"], "x", 0)
        energies = []
        for row in (refined, plain):
            pose = np.array(row["pose"], dtype=np.float32).reshape(1, -1, 3)
            complex_ = Complex("x", ligand, job.receptor.pocket, None, job.receptor.protein)
            energy = VinaEnergy(complex_, pose)
            energies.append(float(energy.score(torch.from_numpy(pose) - energy.origin)))
        assert energies[0] < energies[1]
        assert dict(refined["parts"])["vina"] == pytest.approx(-energies[0], abs=1e-2)


def test_a_ligand_of_open_stereo_has_one_row_with_its_best_isomer(folder: Path, tmp_path: Path) -> None:
    """Each isomer is docked as where the library names it; the ligand's row is that of the better one."""
    open_, one, other = "CC(O)C(=O)O", "C[C@H](O)C(=O)O", "C[C@@H](O)C(=O)O"
    path = library(tmp_path / "l.smi", f"{open_} open", f"{one} one", f"{other} other", "OCC=C")
    run(options(folder, path, tmp_path / "out", stereo="enumerate", chunk=4))
    whole, *isomers, plain = rows(tmp_path / "out")
    assert [row["isomers"] for row in (whole, *isomers, plain)] == [2, 1, 1, 1]
    best = max(isomers, key=lambda row: row["score"])
    same = ("smiles", "score", "parts", "pose")
    assert {name: whole[name] for name in same} == {name: best[name] for name in same}
    assert (whole["given"], whole["remarks"]) == (open_, "the best of 2 stereoisomers")
    run(options(folder, library(tmp_path / "o.smi", open_), tmp_path / "single"))
    (single,) = rows(tmp_path / "single")
    assert single["isomers"] == 1 and "its stereo is open at C2; docked as C[C@" in single["remarks"]
    wide = "CC(O)C(O)C(O)C(O)C(O)C(O)CC"
    run(options(folder, library(tmp_path / "w.smi", wide), tmp_path / "wide", stereo="enumerate"))
    (failed,) = rows(tmp_path / "wide")
    assert failed["status"] == "failed" and "its stereo is open in 64 ways" in failed["reason"]


def test_conformers_and_ranking_are_those_of_ld3_dock(folder: Path, tmp_path: Path) -> None:
    """Ranked by the residual, poses of three conformers: as `dock_ranked` gives for the same ligand and seed."""
    path = library(tmp_path / "l.smi", *SMILES[:2])
    chosen = options(folder, path, tmp_path / "out", ranking="residual", conformers=3, samples=5, refine=False)
    run(chosen)
    job, _ = read_job(chosen)
    plan = DockPlan(
        job.plan.model, job.plan.sampler, Residual(job.plan.model), 5, 0, 3, None, False, 1, {"grid": "grid.json"}
    )
    for row in rows(tmp_path / "out"):
        key = key_of(row["smiles"]).hex()
        ligand = from_smiles(row["smiles"], key, seed_of(0, "conformer", key) % 2**31)
        complex_ = Complex(key, ligand, job.receptor.pocket, None, job.receptor.protein)
        (found,) = dock_ranked(plan, [complex_])
        assert isinstance(found, RankedPoses)
        assert (row["poses"], [name for name, _ in row["parts"]]) == (5, ["residual"])
        assert row["score"] == pytest.approx(found.scores.score[0], rel=1e-3)
        np.testing.assert_allclose(found.positions[0].ravel(), row["pose"], atol=2e-3)


def test_an_interrupted_screen_goes_on_and_another_one_is_refused(folder: Path, tmp_path: Path) -> None:
    """A part that is missing is docked again, and nothing else is."""
    chosen = options(folder, library(tmp_path / "l.smi", *many_smiles(12)), tmp_path / "out")
    run(chosen)
    first = rows(tmp_path / "out")
    parts = sorted((tmp_path / "out" / "parts").glob("*/*.parquet"))
    times = {path: path.stat().st_mtime_ns for path in parts}
    parts[1].unlink()
    run(chosen)
    assert rows(tmp_path / "out") == first
    changed = [path for path in parts if path.stat().st_mtime_ns != times[path]]
    assert changed == [parts[1]]
    with pytest.raises(InputError, match="holds another screen: seed was 0 and is 3"):
        run(replace(chosen, seed=3))
    library(tmp_path / "l.smi", *many_smiles(11))
    with pytest.raises(InputError, match=r"library was .*, records was 12 and is 11"):
        run(chosen)


def test_two_screens_do_not_share_a_folder(folder: Path, tmp_path: Path) -> None:
    from domains.folder_lock import locked

    chosen = options(folder, library(tmp_path / "l.smi", *SMILES), tmp_path / "out")
    with locked(tmp_path / "out"), pytest.raises(InputError, match="another run is at work"):
        run(chosen)


def test_a_ligand_that_takes_too_long_fails_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "prepare", slow_ligands.prepare)
    path = library(tmp_path / "l.smi", "CCO", "CCBr", "CCCl", "CCN")
    run(options(folder, path, tmp_path / "out", ligand_seconds=1))
    assert [(row["status"], row["reason"]) for row in rows(tmp_path / "out")] == [
        ("docked", ""),
        ("failed", "it took more than 1 s"),
        ("failed", "ValueError: no conformer today"),
        ("docked", ""),
    ]


def test_a_ligand_that_breaks_docking_fails_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dock = ranked_docking.dock

    def fragile(model: Any, complexes: Any, *rest: Any, **options: Any) -> Any:  # noqa: ANN401
        if any(c.ligand.n_atoms == 4 for c in complexes):
            raise RuntimeError("no\n  pose")
        return dock(model, complexes, *rest, **options)

    monkeypatch.setattr(ranked_docking, "dock", fragile)
    run(options(folder, library(tmp_path / "l.smi", "CCO", "CCCO", "CCN"), tmp_path / "out"))
    found = rows(tmp_path / "out")
    assert [row["status"] for row in found] == ["docked", "failed", "docked"]
    assert found[1]["reason"] == "docking it failed (RuntimeError: no pose); leave it out, or report it with its files"


def test_what_cannot_be_is_refused_before_anything_is_docked(folder: Path, tmp_path: Path) -> None:
    path = library(tmp_path / "l.smi", *SMILES)
    ok = options(folder, path, tmp_path / "out")
    for changes, message in (
        ({"samples": 0}, "--samples: got 0; give a number >= 1"),
        ({"seed": -1}, "--seed: got -1; give a number >= 0"),
        ({"grid": path}, "--grid: .* give a grid that was learned for these weights"),
        ({"pocket": "there"}, "--pocket: got 'there'; give a ligand file"),
        ({"pocket": "ligand"}, "a library has no bound poses"),
        ({"pocket": None}, "--pocket: it is missing, and these weights dock into pockets"),
        ({"ranking": "confidence"}, "--ranking: there is no confidence model with these weights"),
        ({"conformers": 0}, "--conformers: got 0; give a number >= 1"),
        ({"pocket": "point:900,900,900"}, "there is no residue in the pocket"),
        ({"library": tmp_path / "none.smi"}, "cannot be read"),
        ({"library": library(tmp_path / "empty.smi")}, "there are no ligands in it"),
        ({"library": library(tmp_path / "l.docx", "x")}, "it is no library; give .smi"),
        ({"actors": 2}, "--actors: the engine is local; add --engine ray"),
    ):
        with pytest.raises(InputError, match=message):
            run(replace(ok, **changes))
    assert not list((tmp_path / "out").glob("parts/*/*"))


def test_ctrl_c_ends_it_between_two_steps(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks at work are given up and not kept; the next start does them."""
    chosen = options(folder, library(tmp_path / "l.smi", *many_smiles(9)), tmp_path / "out", nfe=2)
    dock, asked = ranked_docking.dock, []

    def interrupted(*given: Any, **more: Any) -> Any:  # noqa: ANN401
        asked.append(len(given[1]))
        if len(asked) == 2:
            time.sleep(1)  # the first chunk is kept meanwhile
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(1)  # the main thread asks the worker to stop
        return dock(*given, **more)

    monkeypatch.setattr(ranked_docking, "dock", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(chosen)
    assert asked == [3, 3]
    assert [row["row"] for row in rows(tmp_path / "out")] == [1, 2, 3]
    monkeypatch.setattr(ranked_docking, "dock", dock)
    run(chosen)
    assert [row["row"] for row in rows(tmp_path / "out")] == list(range(1, 10))


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_do_nothing_twice(folder: Path, tmp_path: Path) -> None:
    """SIGKILL at random moments while it works; the rows are those of a screen that nobody disturbed."""
    smiles = many_smiles(360)
    path = library(tmp_path / "l.smi", *(f"{s} n{i}" for i, s in enumerate([*smiles, *smiles[::7], "not one"])))
    quiet, killed = (options(folder, path, tmp_path / name, samples=1) for name in ("quiet", "killed"))
    run(quiet)
    dice, kills = random.Random(0), 0
    while kills < 20:
        before = len(list(killed.out.glob("parts/*/*.parquet")))
        process = started(killed)
        limit = time.monotonic() + 120
        while process.is_alive() and len(list(killed.out.glob("parts/*/*.parquet"))) == before:
            assert time.monotonic() < limit
            time.sleep(0.002)
        time.sleep(dice.uniform(0.0, 0.3))
        assert process.is_alive(), f"the library was done after {kills} kills"
        process.kill()
        process.join()
        kills += 1
    assert not (json.loads((killed.out / "run.json").read_text()))["complete"]
    run(killed)
    found = rows(killed.out)
    assert [row["row"] for row in found] == list(range(1, 1 + len(smiles) + len(smiles[::7]) + 1))
    assert found == rows(quiet.out)
    for name in ("failures.csv", "best.csv", "best.sdf"):
        assert (killed.out / name).read_bytes() == (quiet.out / name).read_bytes()


def ray_workers() -> list[int]:
    """Processes of Ray that work on chunks."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().startswith(b"ray::ChunkWorker"):
                found.append(int(path.parent.name))
    return found


@pytest.mark.slow
def test_ray_gives_the_same_rows_though_a_worker_is_killed(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    path = library(tmp_path / "l.smi", *many_smiles(60))
    run(options(folder, path, tmp_path / "local"))
    before = set(ray_workers())
    process = started(options(folder, path, tmp_path / "ray", engine="ray", actors=2))
    limit = time.monotonic() + 120
    while not list((tmp_path / "ray").glob("parts/*/*.parquet")):
        assert process.is_alive() and time.monotonic() < limit
        time.sleep(0.01)
    own = set(ray_workers()) - before
    assert own
    os.kill(own.pop(), signal.SIGKILL)
    process.join(180)
    assert process.exitcode == 0
    assert [row["row"] for row in rows(tmp_path / "ray")] == list(range(1, 61))
    for local, remote in zip(rows(tmp_path / "local"), rows(tmp_path / "ray"), strict=True):
        np.testing.assert_allclose(local.pop("pose"), remote.pop("pose"), atol=2e-3)
        assert local.pop("score") == pytest.approx(remote.pop("score"), abs=1e-3)
        assert (local["row"], local["smiles"], local["status"]) == (remote["row"], remote["smiles"], remote["status"])


def test_a_worker_takes_two_chunks_at_once(folder: Path, tmp_path: Path) -> None:
    """Rows do not depend on which of two threads was first."""
    from concurrent.futures import ThreadPoolExecutor

    from domains.docking.screen.chunks import chunks
    from domains.docking.screen.library import Library
    from domains.docking.screen.seen import Seen

    job, _ = read_job(options(folder, library(tmp_path / "l.smi", *many_smiles(8)), tmp_path / "out"))
    with Seen(tmp_path / "seen.sqlite") as seen:
        todo = list(chunks(Library(tmp_path / "l.smi"), 4, seen, lambda _: False))
    found = ChunkWorker(job, 1)
    try:
        alone = [[replace(row, seconds=None) for row in found.process(chunk)] for chunk in todo]
        with ThreadPoolExecutor(2) as threads:
            together = [[replace(row, seconds=None) for row in own] for own in threads.map(found.process, todo)]
    finally:
        found.stop()
    assert alone == together


def test_the_library_of_the_kills_has_no_ligand_twice() -> None:
    smiles = screens.many_smiles(360)
    assert len({Chem.CanonSmiles(s) for s in smiles}) == 360
