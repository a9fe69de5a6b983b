"""What the benchmark has found so far, and the files that say so: results.json, poses.jsonl, grids/, sdf/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, final

from torch import Tensor

from benchmarks.common import manifest
from benchmarks.common.fits import fit_entry
from benchmarks.common.store import finite, write_text
from benchmarks.docking.fits import FitData
from benchmarks.docking.inputs import Group, Inputs
from benchmarks.docking.methods import Docked, Method, teacher_method
from benchmarks.docking.options import Choices
from benchmarks.docking.pose_files import remove_stale, write_poses
from benchmarks.docking.pose_rows import pose_rows
from benchmarks.docking.summary import MethodRow, Paired, Summary
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.validity import Validity
from domains.docking.structures.complexes import Complex
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
        model: what docks.
        inputs: what is docked.
        groups: with its starts.
        timings: stage -> seconds, growing as the run goes on.

    Attributes:
        clock: of the run.
        docked: key of a method -> its poses.
        grids: NFE -> name -> grid, without those that equal another.
        remarks: what a person should know about the run.
        paired: the learned grid against the best hand-made one; known when all methods are.
    """

    def __init__(
        self,
        choices: Choices,
        model: DockingModel,
        inputs: Inputs,
        groups: Sequence[Group],
        timings: Mapping[str, float],
    ) -> None:
        self.clock = groups[0].flow.clock
        self.docked: dict[str, Docked] = {}
        self.grids: dict[int, dict[str, Grid]] = {}
        self.remarks: list[str] = []
        self._choices, self._inputs, self._out = choices, inputs, choices.options.out
        self._seeds = {name: seed for group in groups for name, seed in group.seeds.items()}
        known = {found.name for found in inputs.complexes if found.reference is not None}
        self._summary = Summary(known, self.clock.score_scale, choices.options.seed)
        self._methods: list[Method] = []
        self.paired: list[Paired] = []
        self._fits: list[dict[str, object]] = []
        self._files: list[str] = []
        self._teacher: dict[str, object] = {}
        self._goals: Docked | None = None
        self._timings = timings
        self._fixed = _fixed_content(choices, model, inputs, self._seeds, self.clock.score_scale)
        self._earlier = _earlier_results(self._out)
        if self._earlier and any(self._earlier.get(part) != self._fixed[part] for part in ("config", "weights")):
            held = f"{self._out} holds a run with other options or weights"
            self.remarks.append(f"{held}: what depends on them is computed again")

    @property
    def title(self) -> str:
        """Model, split and size, for the table and the pictures."""
        options, n = self._choices.options, len(self._inputs.complexes)
        model = f"model {options.weights.stem}, score scale {self.clock.score_scale:g}"
        return f"{model}, {self._inputs.split}: {n} complex{'es' if n != 1 else ''} x {options.samples} poses"

    @property
    def rows(self) -> list[MethodRow]:
        """Of the table."""
        return self._summary.rows

    def add_teacher(self, teacher: Teacher, goals: Docked, disagreement: Tensor) -> None:
        """Where the starts end, and how far, in Å², the same run at twice the steps is from there (M,)."""
        median = float(disagreement.median())
        converged = median <= teacher.tolerance
        self._teacher = {
            **asdict(teacher),
            "converged": converged,
            "median_disagreement": finite(median),
            "worst_disagreement": finite(float(disagreement.max())),
            "n_checked": len(disagreement),
        }
        if not converged:
            self.remarks.append(
                f"the teacher has not converged: at twice the steps the median of the mean squared displacement is "
                f"{median:.3g} Å², more than {teacher.tolerance:g}; raise --teacher-nfe"
            )
        self._goals = goals
        self.add(teacher_method(teacher), goals)

    def add(self, method: Method, docked: Docked) -> None:
        """Poses -> rows and files. The teacher's come first."""
        assert self._goals is not None, "add_teacher comes first"
        rows = pose_rows(self._inputs, self._seeds, self._goals, method, docked)
        self._summary.add(method, rows, docked.ms_per_pose)
        self.docked[method.key] = docked
        self._methods.append(method)
        if method.grid is not None and method.same_as is None:
            self.grids.setdefault(method.nfe, {})[method.name] = method.grid
        self._files += write_poses(self._out, self._inputs.complexes, method, docked)
        self._write(complete=False)

    def add_fit(self, fit: FitResult, pairs: FitData | None) -> None:
        """A learned grid, fitted here on `pairs` or read from a file."""
        folder = self._out / "grids"
        folder.mkdir(exist_ok=True)
        file = folder / f"learned_{fit.solver}_nfe{fit.nfe}.json"
        fit.save(file)
        train, valid, spent = (pairs.train, pairs.valid, pairs.network_evaluations) if pairs else (None, None, None)
        self._fits.append(fit_entry(fit, str(file.relative_to(self._out)), train, valid, spent))
        failed = pairs.failed if pairs else 0
        if failed and len(self._fits) == 1:
            self.remarks.append(f"{failed} of the teacher's poses for the fit are not finite and were left out of it")

    def add_verdicts(self, verdicts: Mapping[tuple[str, str], Sequence[Validity]]) -> None:
        """What PoseBusters says, by complex and key of the method, on the first poses of each."""
        for method in self._methods:
            self._summary.judge(method, {name: found for (name, key), found in verdicts.items() if key == method.key})

    def finish(self) -> None:
        """The last word: files that only an earlier run in this folder had are removed."""
        self.paired = self._summary.paired(tuple(HAND_MADE))
        self._write(complete=True)
        remove_stale(self._out, self._earlier, self._files)

    def _write(self, *, complete: bool) -> None:
        content = {
            "schema": SCHEMA,
            "version": 1,
            "complete": complete,
            **self._fixed,
            "rows": [asdict(row) for row in self.rows],
            "paired": [asdict(pair) for pair in self.paired],
            "fit": self._fits,
            "teacher": self._teacher,
            "remarks": self.remarks,
            "seconds": dict(self._timings),
            "files": self._files,
        }
        lines = [json.dumps(asdict(row), allow_nan=False) + "\n" for row in self._summary.poses]
        write_text(self._out / "poses.jsonl", "".join(lines))
        write_text(self._out / "results.json", json.dumps(content, indent=2, allow_nan=False))


def _fixed_content(
    choices: Choices, model: DockingModel, inputs: Inputs, seeds: Mapping[str, int], score_scale: float
) -> dict[str, Any]:
    """The part of results.json that is known before anything is computed."""
    options = choices.options
    return {
        "split": inputs.split,
        "score_scale": score_scale,
        "noise_range": asdict(model.noise_range),
        "weights": {"file": options.weights.name, "hash": fingerprint(model.network)},
        "config": json.loads(json.dumps(asdict(options), default=str)),
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
        "protein": str(found.protein_report),
        "has_bound_pose": found.reference is not None,
    }


def _earlier_results(out: Path) -> dict[str, Any]:
    """results.json of the run before this one in the same folder; empty if there is none that can be read."""
    try:
        found = json.loads((out / "results.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("schema") == SCHEMA else {}
