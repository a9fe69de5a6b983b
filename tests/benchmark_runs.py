"""Small docking benchmark runs that tests share: an untrained model, one or two real complexes, few poses."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from docking_models import SMALL
from fits import SD, saved_fit

from benchmarks.docking import __main__ as docking
from domains.docking.general_grids import grid_path
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import load_weights, save_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.structures.complexes import read
from domains.docking.structures.text_files import read_names
from domains.docking.training.data import SPLITS
from ld3.grids import quadratic_t
from ld3.learn import FitResult
from ld3.learn.final_test import FinalTest
from ld3.path_points import trace
from ld3.solvers import get_solver

QUICK = ("--samples", "3", "--nfe", "4", "--teacher-nfe", "4")
QUICK_FIT = ("--fit", "--fit-poses", "6", "--fit-steps", "3")


def write_weights(path: Path, score_scale: float = 2.0) -> Path:
    """An untrained small model."""
    torch.manual_seed(0)
    save_weights(path, PocketNet(SMALL).state_dict(), SMALL, NoiseRange(), score_scale)
    return path


def write_complexes(folder: Path, *names: str) -> Path:
    """Crystal complexes of the posebusters package as NAME/protein.pdb and NAME/ligands.sdf."""
    for loaded in read()[0]:
        if loaded.name in names:
            (folder / loaded.name).mkdir(parents=True)
            shutil.copyfile(loaded.protein.path, folder / loaded.name / "protein.pdb")
            ligand = loaded.protein.path.parent / f"{loaded.name}_ligand.sdf"
            block = ligand.read_text().split("\n", 1)[1]
            (folder / loaded.name / "ligands.sdf").write_text(f"{loaded.name}\n{block}")
    return folder


def write_validation_sets(folder: Path) -> Path:
    """1of6 under the name of a held-out ligand, 1uou under that of a protein of the unseen clusters."""
    written = write_complexes(folder / "written", "1of6", "1uou")
    series, ligand = sorted(read_names(SPLITS / "validation_ligands.txt"))[0].split("/")
    protein = sorted(read_names(SPLITS / "validation_clusters.txt"))[0]
    data = folder / "data"
    shutil.copytree(written / "1of6", data / series)
    shutil.copytree(written / "1uou", data / protein)
    sdf = data / series / "ligands.sdf"
    sdf.write_text("\n".join([ligand, *sdf.read_text().split("\n")[1:]]))
    return data


def write_grid(weights: Path, nfe: int, score_scale: float | None = None, test: FinalTest | None = None) -> FitResult:
    """A fit beside the weights, at a score scale (their own if None), with or without the word of a final test."""
    model = load_weights(weights)
    clock = model.noise_range.clock(score_scale or model.score_scale)
    grid = replace(quadratic_t(clock, get_solver("dpmpp_2m").steps(nfe)), name="learned from edm")
    fit = replace(saved_fit(SD, "dpmpp_2m"), grid=grid, nfe=nfe, path=trace(clock, grid), test=test)
    path = grid_path(weights, "dpmpp_2m", nfe)
    path.parent.mkdir(exist_ok=True)
    fit.save(path)
    return fit


@dataclass(frozen=True)
class Run:
    """A benchmark that has ended, and what it left."""

    status: int
    out: Path
    stdout: str
    stderr: str

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        """(method, NFE) -> row of the table."""
        return {(row["method"], row["nfe"]): row for row in self.results["rows"]}

    @property
    def poses(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.out / "poses.jsonl").read_text().splitlines()]

    def poses_of(self, method: str) -> list[dict[str, Any]]:
        return [row for row in self.poses if row["method"] == method]

    @property
    def errors(self) -> list[str]:
        """Lines on standard error, without those of progress."""
        return [line for line in self.stderr.splitlines() if line.strip() and "NFE/s" not in line]


def benchmark(out: Path, *arguments: str | Path) -> Run:
    """Run the command line in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()) as errors:
        status = docking.main([*map(str, arguments), "--out", str(out)])
    return Run(status, out, said.getvalue(), errors.getvalue())


def without_timings(results: Mapping[str, Any]) -> dict[str, Any]:
    """What must not depend on whether a run was interrupted."""
    rows = [{k: v for k, v in row.items() if not k.startswith("ms_per_")} for row in results["rows"]]
    fits = [{k: v for k, v in fit.items() if k != "seconds"} for fit in results["fit"]]
    return {"rows": rows, "fit": fits, "paired": results["paired"], "teacher": results["teacher"]}
