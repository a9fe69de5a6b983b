"""The noise schedule of an image model, without its weights where these are large."""

from __future__ import annotations

from pathlib import Path

from domains.errors import InputError, InputProblem
from domains.images.diffusers.parts import load_scheduler
from domains.images.models.load import BUILT_IN, load
from domains.schedule_record import schedule_hash
from ld3_diffusers.schedule import own_scheduler, read_path


def schedule_of(model: str) -> str:
    """The hash of a model's noise schedule, as fits have it.

    Args:
        model: as `load` takes it; of diffusers pipelines, only the scheduler's config is read.

    Raises:
        InputError: if there is no such model, or its scheduler is not supported.
    """
    if model == BUILT_IN or Path(model).suffix == ".safetensors":
        return schedule_hash(load(model).clock.schedules)
    try:
        return schedule_hash({"x": read_path(*own_scheduler(load_scheduler(model))).schedule})
    except ValueError as error:
        problem = InputProblem("--model", "", str(error), "give a diffusers folder, or the id of one on the hub")
        raise InputError(problem) from error
