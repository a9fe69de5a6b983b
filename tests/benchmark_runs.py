"""Small docking benchmark runs that tests share: an untrained model, one or two real complexes, few poses."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from docking_models import SMALL

from benchmarks.docking import __main__ as docking
from domains.docking.networks.pocket_net import PocketNet
from domains.docking.networks.weights import save_weights
from domains.docking.poses.diffusion import NoiseRange
from domains.docking.structures.complexes import read

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
