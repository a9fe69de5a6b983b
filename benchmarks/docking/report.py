"""What the benchmark has found so far, and the files that say so: results.json, poses.jsonl, grids/, sdf/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

import numpy as np
from torch import Tensor

from benchmarks.common import manifest
from benchmarks.common.comparison import Paired
from benchmarks.common.results import Results
from benchmarks.common.store import write_text
from benchmarks.docking.first import FirstRow
from benchmarks.docking.inputs import Inputs
from benchmarks.docking.methods import Method
from benchmarks.docking.options import Choices
from benchmarks.docking.pose_rows import Positions, pose_rows
from benchmarks.docking.summary import MethodRow, Summary
from domains.docking.docked_poses import DockedPoses
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.files import folder_names, write_sdf
from domains.docking.poses.validity import Validity
from domains.docking.structures.complexes import Complex
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitResult, Teacher

SCHEMA = "ld3.docking.results"

_PACKAGES = ("torch", "torch-geometric", "e3nn", "rdkit", "gemmi", "posebusters", "numpy", "scipy")


@final
class Report:
    """Takes what is computed, in the order in which it is; writes all files after every method.

    Args:
        choices: what was asked for.
        model: what docks, at the run's score scale.
        inputs: what is docked.
        seeds: complex -> seed of its poses.
        timings: stage -> seconds, growing as the run goes on.

    Attributes:
        clock: of the run.
        docked: key of a method -> its poses.
        methods: that have been added.
        grids: NFE -> name -> grid, without those that equal another.
        paired: differences between methods; known when all methods are.
        first: what became of first poses, where that was asked for.
    """

    def __init__(
        self,
        choices: Choices,
        model: DockingModel,
        inputs: Inputs,
        seeds: Mapping[str, int],
        timings: Mapping[str, float],
    ) -> None:
        self.clock: Clock = model.noise_range.clock(model.score_scale)
        self.docked: dict[str, Positions] = {}
        self.methods: list[Method] = []
        self.grids: dict[int, dict[str, Grid]] = {}
        self.paired: list[Paired] = []
        self.first: list[FirstRow] = []
        self._options, self._inputs, self._seeds = choices.options, inputs, seeds
        known = {c.name for c in inputs.complexes if c.reference is not None}
        self._summary = Summary(known, choices.options.seed, inputs.clusters.of if inputs.clusters else None)
        self._folders = folder_names([found.name for found in inputs.complexes])
        self._files: list[str] = []
        self._goals: Positions = {}
        fixed = _fixed_content(choices, model, inputs, seeds)
        self._results = Results(choices.options.out, SCHEMA, fixed, timings)
        earlier = self._results.earlier
        if earlier and any(earlier.get(part) != fixed[part] for part in ("config", "weights")):
            held = f"{choices.options.out} holds a run with other options or weights"
            self.remarks.append(f"{held}: what depends on them is computed again")

    @property
    def title(self) -> str:
        """Model, split and size, for the table and the pictures."""
        options, n = self._options, len(self._inputs.complexes)
        model = f"model {options.weights.name.removesuffix('.safetensors')}, score scale {self.clock.score_scale:g}"
        return f"{model}, {self._inputs.split}: {n} complex{'es' if n != 1 else ''} x {options.samples} poses"

    @property
    def rows(self) -> list[MethodRow]:
        """Of the table."""
        return self._summary.rows

    @property
    def remarks(self) -> list[str]:
        """What a person should know about the run."""
        return self._results.remarks

    def add_teacher(self, teacher: Teacher, method: Method, docked: DockedPoses, disagreement: Tensor) -> None:
        """Where the starts end, and how far, in Å², the same run at twice the steps is from there (M,)."""
        self._results.add_teacher(teacher, disagreement, " Å² (mean over atoms)")
        self._goals = docked.positions
        self.add(method, docked)

    def add(self, method: Method, docked: DockedPoses) -> None:
        """Poses -> rows and files. The teacher's come first."""
        assert self._goals, "add_teacher comes first"
        self._summary.add(method, pose_rows(self._inputs, self._seeds, self._goals, method, docked.positions))
        self.docked[method.key] = docked.positions
        self.methods.append(method)
        if method.grid is not None and method.same_as is None:
            self.grids.setdefault(method.nfe, {})[method.name] = method.grid
        self._files += [self._write_sdf(found, method, docked.positions) for found in self._inputs.complexes]
        self._write(complete=False)

    def add_fit(self, fit: FitResult, *, fitted_here: bool) -> None:
        """A learned grid, fitted here or read from a file."""
        self._results.add_fit(fit, fitted_here=fitted_here)

    def add_times(self, ms_per_pose: Mapping[str, float]) -> None:
        """Key of a method -> what a pose takes."""
        for method in self.methods:
            self._summary.add_time(method, ms_per_pose[method.key])

    def add_verdicts(self, verdicts: Mapping[str, Mapping[str, Sequence[Validity]]]) -> None:
        """What PoseBusters says: key of a method -> complex -> its first poses."""
        for method in self.methods:
            self._summary.add_verdicts(method, verdicts[method.key])

    def add_first(self, rows: Sequence[FirstRow]) -> None:
        """First poses of some methods, and of Vina."""
        self.first += rows
        self._write(complete=False)

    def finish(self) -> None:
        """The last word: pose files that only an earlier run in this folder had are removed."""
        self.paired = self._summary.paired(tuple(HAND_MADE))
        self._write(complete=True)
        out = self._options.out
        for name in set(self._results.earlier.get("files", ())) - set(self._files):
            if (path := (out / name).resolve()).is_relative_to((out / "sdf").resolve()):
                path.unlink(missing_ok=True)

    def _write_sdf(self, found: Complex, method: Method, positions: Positions) -> str:
        """sdf/COMPLEX/METHOD_nfeK.sdf in the protein's frame, without the poses that failed; relative to --out."""
        poses = positions[found.name]
        kept = np.flatnonzero(np.isfinite(poses).all((1, 2)))
        file = Path("sdf") / self._folders[found.name] / f"{method.name}_nfe{method.nfe}.sdf"
        path = self._options.out / file
        path.parent.mkdir(parents=True, exist_ok=True)
        properties = [{"method": method.name, "nfe": str(method.nfe), "sample": str(i)} for i in kept]
        write_sdf(path, found.ligand, poses[kept], properties)
        return str(file)

    def _write(self, *, complete: bool) -> None:
        lines = [json.dumps(asdict(row), allow_nan=False) + "\n" for row in self._summary.poses]
        write_text(self._options.out / "poses.jsonl", "".join(lines))
        rows, pairs, first = ([asdict(entry) for entry in part] for part in (self.rows, self.paired, self.first))
        self._results.write(complete=complete, rows=rows, paired=pairs, first=first, files=self._files)


def _fixed_content(choices: Choices, model: DockingModel, inputs: Inputs, seeds: Mapping[str, int]) -> dict[str, Any]:
    """The part of results.json that is known before anything is computed."""
    options = choices.options
    return {
        "split": inputs.split,
        "score_scale": model.score_scale,
        "noise_range": asdict(model.noise_range),
        "weights": {"file": options.weights.name, "hash": fingerprint(model.network)},
        "config": options.plain(),
        "seeds": {"run": options.seed, "complexes": dict(seeds)},
        "complexes": [_complex_entry(found) for found in inputs.complexes],
        "problems": [str(problem) for problem in inputs.problems],
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(choices.device),
    }


def _complex_entry(found: Complex) -> dict[str, object]:
    """The pocket is part of every result."""
    return {
        "name": found.name,
        "heavy_atoms": found.ligand.n_atoms,
        "torsions": found.ligand.n_torsions,
        "pocket": found.pocket.spec,
        "protein": str(found.protein.report),
        "has_bound_pose": found.reference is not None,
        "remarks": list(found.remarks),
    }
