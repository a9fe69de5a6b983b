"""What a user may get wrong on the benchmark's command line: one clear line each, and the rest goes on."""

from __future__ import annotations

import gzip
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmark_runs import QUICK_FIT, Run, benchmark, write_complexes, write_weights
from docking_models import SMALL
from rdkit import Chem
from rdkit.Chem import rdDistGeom
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from domains.docking.networks.pocket_net import PocketNet

Bench = Callable[..., Run]
QUICK = ("--samples", "2", "--nfe", "2", "--teacher-nfe", "2", "--posebusters", "0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def bench(weights: Path, tmp_path: Path) -> Bench:
    def run(*arguments: str | Path) -> Run:
        return benchmark(tmp_path / "out", "--weights", weights, *QUICK, *arguments)

    return run


def refused(run: Run, *words: str) -> None:
    """Nothing ran, and the one line on standard error has all of `words`."""
    assert run.status == 2
    assert run.stdout == ""
    (line,) = run.errors
    assert line.startswith("error: ")
    for word in words:
        assert word in line, (word, line)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--nfe", "0"), ("--nfe", "got 0", "dpmpp_2m")),
        (("--nfe", "-3"), ("--nfe", "got -3")),
        (("--nfe", "4", "0"), ("--nfe", "got 0")),
        (("--nfe", "5", "--solver", "heun"), ("--nfe", "multiple of 2 for heun", "got 5")),
        (("--nfe", "4", "4"), ("--nfe", "twice", "4 4")),
        (("--teacher-nfe", "0"), ("--teacher-nfe", "got 0")),
        (("--solver", "runge"), ("--solver", "'runge'", "dpmpp_2m")),
        (("--samples", "0"), ("--samples", "got 0", ">= 1")),
        (("--seed", "-1"), ("--seed", "got -1", ">= 0")),
        (("--seed", "2147483648"), ("--seed", "got 2147483648", "up to 2147483647")),
        (("--fit-poses", "1"), ("--fit-poses", "got 1", ">= 2")),
        (("--fit-steps", "-1"), ("--fit-steps", "got -1", ">= 0")),
        (("--fit", "--grid", "grid.json"), ("--fit", "leave out --fit or --grid")),
        (("--posebusters", "-1"), ("--posebusters", "got -1")),
        (("--score-scale", "0"), ("--score-scale", "got 0")),
        (("--score-scale", "nan"), ("--score-scale", "got nan")),
        (("--pocket", "point:1,2"), ("--pocket", "'point:1,2'", "point:X,Y,Z")),
        (("--device", "tpu9"), ("--device", "'tpu9'", "use cpu")),
        pytest.param(
            ("--device", "cuda"),
            ("--device", "'cuda'", "use cpu"),
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here"),
        ),
        (("--complexes", "nowhere"), ("nowhere", "not a folder", "NAME/protein.pdb")),
        (("--complexes", "nowhere.csv"), ("nowhere.csv", "cannot be read")),
        (("--only", "nowhere.txt"), ("nowhere.txt", "cannot be read")),
        (("--weights", "nowhere.safetensors"), ("nowhere.safetensors", "no such weights file")),
        (("--grid", "nowhere.json"), ("nowhere.json", "no saved fit", "without --grid")),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") and len(value) < 6 else "",
)
def test_options(bench: Bench, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    run = bench(*arguments)
    if arguments[0] == "--complexes":
        assert run.status == 2
        problem, verdict = run.errors
        assert all(word in problem for word in words)
        assert verdict == "error: no complex can be docked"
    else:
        refused(run, *words)


def test_a_folder_that_cannot_be_written(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(benchmark(tmp_path / "file" / "out", *QUICK), "--out", str(tmp_path / "file" / "out"), "write")
    refused(benchmark(tmp_path / "file", *QUICK), "--out", "write")


def test_no_traceback_from_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.docking", "--nfe", "0", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "--nfe" in done.stderr


def altered(weights: Path, path: Path, change: Callable[[dict[str, torch.Tensor], dict[str, Any]], object]) -> Path:
    """A copy of a weights file with other tensors or metadata."""
    tensors = load_file(weights)
    with safe_open(weights, framework="pt") as file:
        metadata: dict[str, Any] = file.metadata()
    change(tensors, metadata)
    save_file(tensors, path, metadata)
    return path


def test_weights(bench: Bench, weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    name = sorted(load_file(weights))[0]
    refused(bench("--weights", altered(weights, path, lambda t, m: t.pop(name))), str(path), name, "lacks")
    refused(
        bench("--weights", altered(weights, path, lambda t, m: m.update(format="other"))), str(path), "another model"
    )
    refused(bench("--weights", altered(weights, path, lambda t, m: t[name].fill_(torch.nan))), str(path), name, "NaN")
    torch.save(PocketNet(SMALL).state_dict(), path)
    refused(bench("--weights", path), str(path), "pickle", "not opened")
    path.write_bytes(pickle.dumps({"a": 1}))
    refused(bench("--weights", path), str(path), "pickle", "not opened")
    path.write_bytes(weights.read_bytes()[:5000])
    refused(bench("--weights", path), str(path), "no safetensors file")


def test_saved_grids(bench: Bench, tmp_path: Path) -> None:
    complexes = write_complexes(tmp_path / "complexes", "1uou")
    first = bench("--complexes", complexes, "--nfe", "3", *QUICK_FIT)
    assert first.status == 0
    saved = first.out / first.results["fit"][0]["file"]
    reuse = ("--complexes", complexes, "--grid", saved)
    refused(bench(*reuse, "--nfe", "3", "--solver", "ddim"), str(saved), "dpmpp_2m, not ddim", "--solver dpmpp_2m")
    refused(bench(*reuse, "--nfe", "4"), str(saved), "3 NFE", "--nfe 3")
    refused(bench(*reuse, "--nfe", "3", "4"), "--grid", "4 NFE")
    refused(bench(*reuse, saved, "--nfe", "3"), str(saved), "second grid of 3 NFE")
    refused(bench(*reuse, "--nfe", "3", "--score-scale", "5"), str(saved), "for score scale 2", "--score-scale")
    content = json.loads(saved.read_text())
    changed = tmp_path / "changed.json"

    def with_change(change: Callable[[dict[str, Any]], object]) -> Run:
        copy = json.loads(json.dumps(content))
        change(copy)
        changed.write_text(json.dumps(copy))
        return bench("--complexes", complexes, "--grid", changed, "--nfe", "3")

    def without_torsions(fit: dict[str, Any]) -> None:
        for part in (fit["grid"]["solver"], fit["grid"]["network"], fit["path"]):
            del part["tor"]

    refused(with_change(without_torsions), str(changed), "it has the factors ['rot', 'tr']", "tor")
    refused(with_change(lambda fit: fit.pop("solver")), str(changed), "no saved fit")
    refused(with_change(lambda fit: fit.update(schema="x")), str(changed), "no saved fit")
    refused(with_change(lambda fit: fit["grid"]["solver"]["tr"].reverse()), str(changed), "increase strictly")
    changed.write_text("{")
    refused(bench("--grid", changed), str(changed), "no saved fit")


def mol_block(name: str, smiles: str, at: tuple[float, float, float]) -> str:
    """An SDF record of a molecule around a point."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    rdDistGeom.EmbedMolecule(mol, randomSeed=1)
    x = mol.GetConformer().GetPositions()
    mol.GetConformer().SetPositions(x - x.mean(0) + at)
    mol.SetProp("_Name", name)
    return Chem.MolToMolBlock(mol) + "$$$$\n"


@pytest.fixture
def crystal(tmp_path: Path) -> tuple[Path, str, str, tuple[float, float, float]]:
    """Folder of complexes with 1uou, its protein's text, its ligand's record, and the ligand's place."""
    folder = write_complexes(tmp_path / "complexes", "1uou")
    record = (folder / "1uou" / "ligands.sdf").read_text()
    x = Chem.MolFromMolBlock(record).GetConformer().GetPositions().mean(0)
    place = (float(x[0]), float(x[1]), float(x[2]))
    return folder, (folder / "1uou" / "protein.pdb").read_text(), record, place


def test_bad_complexes_are_named_and_the_good_one_is_docked(
    bench: Bench, crystal: tuple[Path, str, str, tuple[float, float, float]]
) -> None:
    folder, protein, record, place = crystal
    far = (place[0] + 300.0, place[1], place[2])
    flat = "\n".join(
        f"{line[:20]}{0:10.4f}{line[30:]}" if len(line) > 60 and line[31:34].strip().isalpha() else line
        for line in record.split("\n")
    )
    proteins = {
        "p_empty": "",
        "p_truncated": protein[: len(protein) // 2 - 30].rsplit("\n", 1)[0] + "\nATOM   9999  CA  GLY A 99",
        "p_binary": "ATOM\x00\x01\x02",
        "p_waters": "HETATM    1  O   HOH A   1       1.000   1.000   1.000  1.00  0.00           O\n",
    }
    ligands = {
        "l_empty": "",
        "l_truncated": record[: len(record) // 2],
        "l_binary": "\x00\x01\x02",
        "l_valence": mol_block("x", "CC(C)(C)C", place).replace("  1  2  1  0", "  1  2  3  0"),
        "l_fragments": mol_block("x", "CC(=O)[O-].[NH4+]", place),
        "l_metal": mol_block("x", "[Zn]", place),
        "l_flat": flat,
        "l_far": mol_block("x", "CCCCO", far),
        "l_same": mol_block("x", "CCCO", place) * 2,
    }
    for name in (*proteins, *ligands):
        (folder / name).mkdir()
        (folder / name / "protein.pdb").write_text(proteins.get(name, protein))
        (folder / name / "ligands.sdf").write_text(ligands.get(name, record))
    (folder / "nothing").mkdir()
    (folder / "rigid").mkdir()
    (folder / "rigid" / "protein.pdb").write_text(protein)
    (folder / "rigid" / "ligands.sdf").write_text(mol_block("benzene", "c1ccccc1", place))

    run = bench("--complexes", folder)
    assert run.status == 0
    assert {row["complex"] for row in run.poses} == {"1uou/1uou", "rigid/benzene", "l_same/x", "l_same/x_2"}
    assert all(row["failed"] is None for row in run.poses)
    warnings = {line.split(str(folder) + "/")[1].split("/")[0]: line for line in run.errors if "warning" in line}
    assert set(warnings) == {*proteins, *set(ligands) - {"l_same"}, "nothing"}
    assert any("l_same/x_2" in line and line.startswith("note: ") for line in run.errors), run.errors
    assert len([line for line in run.errors if line.startswith("warning: ")]) == len(warnings)
    said = {
        "p_empty": "empty",
        "p_truncated": "cut off",
        "p_binary": "binary",
        "p_waters": "no amino acids",
        "l_empty": "empty",
        "l_truncated": "cut off",
        "l_binary": "binary",
        "l_valence": "cannot sanitise",
        "l_fragments": "2 fragments",
        "l_metal": "Zn",
        "l_flat": "3-D coordinates",
        "l_far": "Å away",
        "nothing": "cannot be read",
    }
    for name, words in said.items():
        assert words in warnings[name], warnings[name]
        assert "; " in warnings[name], "there is a remedy"
    assert len(run.results["problems"]) == len(warnings)
    for name in (*proteins, *set(ligands) - {"l_same"}):
        assert not any(row["complex"].startswith(name) for row in run.poses)


def test_bad_rows_of_a_table(bench: Bench, crystal: tuple[Path, str, str, tuple[float, float, float]]) -> None:
    folder, protein, _, _ = crystal
    (folder / "protein.pdb.gz").write_bytes(gzip.compress(protein.encode())[:-9])
    table = folder / "table.csv"
    good = "1uou/protein.pdb,1uou/ligands.sdf,"
    header = "complex_name,protein_path,ligand_description,protein_sequence\n"
    rows = {
        "lost,nowhere.pdb,1uou/ligands.sdf,": "nowhere.pdb",
        "gone,1uou/protein.pdb,nowhere.sdf,": "nowhere.sdf",
        "cut,protein.pdb.gz,1uou/ligands.sdf,": "cut off",
        "smiles,1uou/protein.pdb,CC(C,": "CC(C",
        "unplaced,1uou/protein.pdb,CCO,": "no pose to put the pocket around",
    }
    table.write_text(header + f"good,{good}\n" * 2 + "".join(row + "\n" for row in rows))
    run = bench("--complexes", table)
    assert run.status == 0
    assert {row["complex"] for row in run.poses} == {"good", "good_2"}
    assert any("good_2" in line and line.startswith("note: ") for line in run.errors), run.errors
    warnings = [line for line in run.errors if line.startswith("warning: ")]
    assert len(warnings) == 5
    for words in rows.values():
        assert sum(words in line for line in warnings) == 1, (words, warnings)
    table.write_text(header + "lost,nowhere.pdb,1uou/ligands.sdf,\n")
    run = bench("--complexes", table)
    assert run.status == 2
    assert run.errors[-1] == "error: no complex can be docked"
    assert len(run.errors) == 2


def test_a_ligand_with_too_many_symmetries_is_left_out(
    bench: Bench, crystal: tuple[Path, str, str, tuple[float, float, float]]
) -> None:
    folder, protein, _, place = crystal
    (folder / "round").mkdir()
    (folder / "round" / "protein.pdb").write_text(protein)
    many = "FC(F)(F)c1c(C(F)(F)F)c(C(F)(F)F)c(C(F)(F)F)c(C(F)(F)F)c1C(F)(F)F"
    (folder / "round" / "ligands.sdf").write_text(mol_block("many", many, place))
    run = bench("--complexes", folder)
    assert run.status == 0
    assert {row["complex"] for row in run.poses} == {"1uou/1uou"}
    (warning,) = [line for line in run.errors if line.startswith("warning: ")]
    assert "round/many" in warning
    assert "symmetries" in warning
