"""What the images benchmark has found so far, and the files that say so: results.json, grids/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, final

from torch import Tensor

from benchmarks.common import manifest
from benchmarks.common.comparison import TEACHER_ROW, Paired
from benchmarks.common.results import Results
from benchmarks.images.baselines import Baseline
from benchmarks.images.methods import Method
from benchmarks.images.options import Choices
from benchmarks.images.summary import ImageRow, Summary
from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.flow import DenoiserFlow
from domains.images.metrics.quality import DigitsQuality
from ld3.grids import Grid
from ld3.learn import FitResult, Teacher

SCHEMA = "ld3.images.results"

_PACKAGES = ("torch", "numpy", "scikit-learn")
_OTHER_MODELS = ("diffusers", "transformers", "lpips")
_FRECHET = "all real digits, or those of the labels; pixels, and 64 features of weights/classifier.safetensors"


@final
class Report:
    """Takes what is computed, in the order in which it is; writes results.json after every method.

    Args:
        choices: what was asked for.
        flow: the model.
        starts: of all methods.
        timings: stage -> seconds, growing as the run goes on.

    Attributes:
        methods: that have been added.
        made: (method, NFE) -> its images x̂; of methods whose grid equals another's, the first.
        grids: NFE -> name -> grid, without those that equal another.
        baselines: that the learned grid is compared with.
        paired: the learned grid against the best other one; known when all methods are.
    """

    def __init__(
        self, choices: Choices, flow: ConditionedFlow, starts: Sequence[Conditioned], timings: Mapping[str, float]
    ) -> None:
        self.choices, self.flow = choices, flow
        self.methods: list[Method] = []
        self.made: dict[tuple[str, int], Tensor] = {}
        self.grids: dict[int, dict[str, Grid]] = {}
        self.paired: list[Paired] = []
        self.baselines: tuple[Baseline, ...] = ()
        quality = _quality(flow)
        self.summary = Summary(flow, starts, quality, choices.options.seed)
        fixed = _fixed_content(choices, flow) | {"frechet": _FRECHET if quality else None}
        self._results = Results(choices.options.out, SCHEMA, fixed, timings)

    @property
    def title(self) -> str:
        """Model, guidance and size, for the table and the pictures."""
        options = self.choices.options
        guidance = "" if options.guidance in (None, 1.0) else f", guidance {options.guidance:g}"
        return f"model {options.model}{guidance}, {options.solver}: {options.samples} images"

    @property
    def rows(self) -> list[ImageRow]:
        """Of the table."""
        return self.summary.rows

    @property
    def remarks(self) -> list[str]:
        """What a person should know about the run."""
        return self._results.remarks

    def add_teacher(self, teacher: Teacher, method: Method, x: Tensor, disagreement: Tensor) -> None:
        """Where the starts end, and how far the same run at twice the steps is from there (M,)."""
        self._results.add_teacher(teacher, disagreement, "")
        self.add(method, x)
        if failed := self.rows[0].failed:
            self.remarks.append(
                f"{failed} of the teacher's images are not finite; no distance is taken from their starts"
            )

    def add(self, method: Method, x: Tensor) -> None:
        """Images -> a row. The teacher's come first."""
        self.summary.add(method, x)
        self.methods.append(method)
        if method.same_as is None:
            self.made[method.name, method.nfe] = x
            if method.name != TEACHER_ROW:
                self.grids.setdefault(method.nfe, {})[method.name] = method.grid
        self._write(complete=False)

    def add_fit(self, fit: FitResult, *, fitted_here: bool) -> None:
        """A learned grid, fitted here or read from a file."""
        self._results.add_fit(fit, fitted_here=fitted_here)
        if fit.flow != self.flow.fingerprint():
            self.remarks.append(
                f"the grid of {fit.nfe} NFE was learned for another model, or with other labels or guidance"
            )
        if fitted_here and fit.dropped:
            self.remarks.append(
                f"{fit.nfe} NFE: {fit.dropped} of the teacher's images for the fit are not finite and were left out"
            )

    def finish(self) -> None:
        """The last word."""
        self.paired = self.summary.paired()
        self._write(complete=True)

    def _write(self, *, complete: bool) -> None:
        rows, pairs = ([asdict(entry) for entry in part] for part in (self.rows, self.paired))
        spent = {baseline.name: baseline.network_evaluations for baseline in self.baselines}
        self._results.write(complete=complete, rows=rows, paired=pairs, baselines=spent)


def _quality(flow: ConditionedFlow) -> DigitsQuality | None:
    """Real images to compare with are there for models of digits alone: 8x8 pixels, of classes."""
    if isinstance(flow, DenoiserFlow) and tuple(flow.shape) == (1, 8, 8):
        return DigitsQuality(flow.labels)
    return None


def _fixed_content(choices: Choices, flow: ConditionedFlow) -> dict[str, Any]:
    """The part of results.json that is known before anything is computed."""
    options = choices.options
    return {
        "model": {"name": options.model, "hash": flow.fingerprint(), "shape": list(flow.shape)},
        "distance": flow.measure.name,
        "config": options.plain(),
        "seed": options.seed,
        "versions": manifest.versions(_PACKAGES, _OTHER_MODELS),
        "commit": manifest.commit(),
        "machine": manifest.machine(flow.device),
    }
