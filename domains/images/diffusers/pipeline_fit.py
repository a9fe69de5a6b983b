"""A grid for a pipeline in memory, and back into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, final

from domains.images.diffusers.load import pipeline_flow
from domains.images.diffusers.pipeline import read_pipeline
from domains.images.export import Target
from domains.images.fits import learn_grid
from domains.images.metrics.distances import get_distance
from domains.images.models.options import ModelOptions
from domains.images.settings import BATCH, FIT_PAIRS, SOLVER, TEACHER, Learn
from ld3.learn import FitConfig, FitResult, Teacher
from ld3.solvers import Solver
from ld3_diffusers.config_options import Component
from ld3_diffusers.learned_scheduler import LearnedScheduler


@final
@dataclass(frozen=True, repr=False)
class PipelineFit(FitResult):
    """What a fit found for a pipeline; saved, loaded and exported like any other."""

    def scheduler(self, pipe: Component) -> LearnedScheduler:
        """For `pipe.scheduler`: the learned grid, on top of the config of the scheduler that is there now."""
        return LearnedScheduler.from_fit(self, pipe)


def fit_pipeline(
    pipe: Component,
    prompts: Sequence[str] = (),
    nfe: int = 5,
    *,
    guidance: float | None = None,
    negative_prompt: str | None = None,
    labels: Sequence[int] = (),
    resolution: int | None = None,
    end: Literal["clean", "level"] | None = None,
    distance: str = "mse",
    solver: str | Solver = SOLVER,
    learn: Learn | FitConfig = "joint",
    pairs: int = FIT_PAIRS,
    seed: int = 0,
    batch: int = BATCH,
    teacher: Teacher = TEACHER,
    target: Target = "diffusers",
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PipelineFit:
    """Learn a grid for a pipeline of diffusers as it is in memory: with adapters, fused or quantised weights.

    Args:
        pipe: the pipeline; its weights are set to be differentiated no more, nothing else in it changes.
        prompts: texts to learn on, in turn; none for a pipeline without prompts.
        nfe: network evaluations an image.
        guidance, negative_prompt, labels, resolution, end, distance: as `ModelOptions` has them.
        solver, learn, pairs, seed, batch, teacher, target, folder, on_progress: as
            :func:`domains.images.learn_grid` has them.

    Raises:
        ValueError: before anything is computed, naming the part or option that is not supported or does not fit.
    """
    options = ModelOptions(
        prompts=tuple(prompts),
        guidance=guidance,
        negative_prompt=negative_prompt,
        labels=tuple(labels),
        resolution=resolution,
        end=end,
        distance=distance,
        device=pipe.device,
        precision=pipe.dtype,
    )
    name = str(pipe.config.get("_name_or_path") or type(pipe).__name__)
    flow = pipeline_flow(read_pipeline(pipe, name), options, get_distance(distance, pipe.device))
    fit = learn_grid(
        flow,
        nfe,
        solver=solver,
        learn=learn,
        pairs=pairs,
        seed=seed,
        batch=batch,
        teacher=teacher,
        target=target,
        folder=folder,
        on_progress=on_progress,
    )
    return PipelineFit(**{part.name: getattr(fit, part.name) for part in fields(FitResult)})
