"""What the images benchmark has found so far, and the files that say so: results.json, grids/."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, final

from torch import Tensor

from benchmarks.common import manifest
from benchmarks.common.fits import fit_entry
from benchmarks.common.names import TEACHER_ROW
from benchmarks.common.store import write_text
from benchmarks.images.baselines import Baseline
from benchmarks.images.fits import FitData
from benchmarks.images.methods import Made, Method
from benchmarks.images.options import Choices
from benchmarks.images.rows import ImageRow, Paired, Table
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.flow import DenoiserFlow
from domains.images.metrics.quality import DigitsQuality
from ld3.grids import Grid
from ld3.learn import FitResult, Teacher

SCHEMA = "ld3.images.results"

_PACKAGES = ("torch", "numpy", "scikit-learn")
_OTHER_MODELS = ("diffusers", "transformers", "lpips")


@final
class Report:
    """Takes what is computed, in the order in which it is; writes results.json after every method.

    Args:
        choices: what was asked for.
        flow: the model.
        starts: of all methods.
        timings: stage -> seconds, growing as the run goes on.

    Attributes:
        made: (method, NFE) -> its images; of methods whose grid equals another's, the first.
        grids: NFE -> name -> grid, without those that equal another.
        remarks: what a person should know about the run.
        baselines: that the learned grid is compared with.
        paired: the learned grid against the best hand-made one; known when all methods are.
    """

    def __init__(
        self, choices: Choices, flow: ConditionedFlow, starts: Sequence[Conditioned], timings: Mapping[str, float]
    ) -> None:
        self.choices, self.flow = choices, flow
        self.made: dict[tuple[str, int], Made] = {}
        self.grids: dict[int, dict[str, Grid]] = {}
        self.remarks: list[str] = []
        self.paired: list[Paired] = []
        self.baselines: tuple[Baseline, ...] = ()
        quality = DigitsQuality(flow.labels) if isinstance(flow, DenoiserFlow) else None
        self._table = Table(flow, starts, quality, choices.options.seed)
        self._fits: list[dict[str, object]] = []
        self._teacher: dict[str, object] = {}
        self._timings = timings
        self._fixed = _fixed_content(choices, flow)

    @property
    def title(self) -> str:
        """Model, guidance and size, for the table and the pictures."""
        options = self.choices.options
        guidance = "" if options.guidance in (None, 1.0) else f", guidance {options.guidance:g}"
        return f"model {options.model}{guidance}, {options.solver}: {options.samples} images"

    @property
    def rows(self) -> list[ImageRow]:
        """Of the table."""
        return self._table.rows

    @property
    def measured(self) -> bool:
        """Whether images are compared with real ones."""
        return self.rows[0].frechet_pixels is not None

    def best_hand(self, nfe: int) -> str | None:
        """The hand-made grid nearest to the teacher."""
        return self._table.best_hand(nfe)

    def add_teacher(self, teacher: Teacher, method: Method, made: Made, disagreement: Tensor) -> None:
        """Where the starts end, and how far the same run at twice the steps is from there (M,)."""
        median = float(disagreement.median())
        converged = median <= teacher.tolerance
        self._teacher = {
            **asdict(teacher),
            "converged": converged,
            "median_disagreement": median if math.isfinite(median) else None,
            "n_checked": len(disagreement),
        }
        if not converged:
            self.remarks.append(
                f"the teacher has not converged: at twice the steps the median distance is {median:.3g}, more than "
                f"{teacher.tolerance:g}; raise --teacher-nfe"
            )
        self.add(method, made)
        if failed := self.rows[0].failed:
            self.remarks.append(
                f"{failed} of the teacher's images are not finite; no distance is taken from their starts"
            )

    def add_baselines(self, baselines: Sequence[Baseline], remarks: Sequence[str]) -> None:
        """What there is to compare with, and what is missing."""
        self.baselines = tuple(baselines)
        self.remarks += remarks

    def add(self, method: Method, made: Made) -> None:
        """Images -> a row. The teacher's come first."""
        self._table.add(method, made)
        if method.same_as is None:
            self.made[method.name, method.nfe] = made
            if method.name != TEACHER_ROW:
                self.grids.setdefault(method.nfe, {})[method.name] = method.grid
        self._write(complete=False)

    def add_fit(self, fit: FitResult, data: FitData | None) -> None:
        """A learned grid, fitted here on `data` or read from a file."""
        folder = self.choices.out / "grids"
        folder.mkdir(exist_ok=True)
        file = folder / f"learned_{fit.solver}_nfe{fit.nfe}.json"
        fit.save(file)
        train, valid, spent = (data.train, data.valid, data.train.network_evaluations) if data else (None, None, None)
        self._fits.append(fit_entry(fit, f"{folder.name}/{file.name}", train, valid, spent))
        if fit.flow != self.flow.fingerprint():
            self.remarks.append(
                f"the grid of {fit.nfe} NFE was learned for another model, or with other labels or guidance"
            )
        if data is not None and data.failed and len(self._fits) == 1:
            self.remarks.append(f"{data.failed} of the teacher's images for the fit are not finite and were left out")

    def finish(self) -> None:
        """The last word."""
        self.paired = self._table.paired()
        self._write(complete=True)

    def _write(self, *, complete: bool) -> None:
        content = {
            "schema": SCHEMA,
            "version": 1,
            "complete": complete,
            **self._fixed,
            "rows": [asdict(row) for row in self.rows],
            "paired": [asdict(pair) for pair in self.paired],
            "fit": self._fits,
            "baselines": {baseline.name: baseline.network_evaluations for baseline in self.baselines},
            "teacher": self._teacher,
            "remarks": self.remarks,
            "seconds": dict(self._timings),
        }
        write_text(self.choices.out / "results.json", json.dumps(content, indent=2, allow_nan=False))


def _fixed_content(choices: Choices, flow: ConditionedFlow) -> dict[str, Any]:
    """The part of results.json that is known before anything is computed."""
    options = choices.options
    frechet = "all real digits, or those of the labels; pixels, and 64 features of weights/classifier.safetensors"
    return {
        "model": {"name": options.model, "hash": flow.fingerprint(), "shape": list(flow.shape)},
        "distance": flow.measure.name,
        "frechet": frechet if isinstance(flow, DenoiserFlow) else None,
        "config": json.loads(json.dumps(asdict(options) | {"nfe": choices.nfe, "out": choices.out}, default=str)),
        "seed": options.seed,
        "versions": manifest.versions(_PACKAGES) | _installed(_OTHER_MODELS),
        "commit": manifest.commit(),
        "machine": manifest.machine(choices.model_options.device),
    }


def _installed(packages: Sequence[str]) -> dict[str, str]:
    """Versions of those that are there."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
