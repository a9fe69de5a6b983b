"""Options of the images benchmark, and what it refuses before it computes anything."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch

from domains.images.metrics.distances import DISTANCES
from domains.images.models.load import BUILT_IN
from domains.images.models.options import ModelOptions
from domains.images.settings import BATCH, FIT, FIT_PAIRS, FITS, SOLVER, TEACHER, Learn
from domains.options import check_nfe, check_numbers, find_device, find_solver, mistake, prepare_folder
from ld3.learn import FitConfig
from ld3.learn.student import WITH_COEFFICIENTS
from ld3.solvers import Solver, get_solver

_PRECISIONS: Final = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    nfe: tuple[int, ...] = (5,)
    """network evaluations an image; several numbers make a sweep"""
    model: str = BUILT_IN
    """digits, a .safetensors file written by domains.images.train or domains.images.convert, or a diffusers folder"""
    solver: str = SOLVER
    """of the learned and the hand-made grids: a name of ld3.solvers"""
    samples: int = 2000
    """images that every method makes"""
    label: str = "all"
    """class to show: a number, all in turn, or none (any class)"""
    prompts: tuple[str, ...] = ()
    """texts to show, in turn, for models that take them"""
    guidance: float | None = None
    """scale of classifier-free guidance; 1 is none"""
    negative_prompt: str | None = None
    """text that guidance leads away from, for models that take prompts; what the pipeline takes where none is given"""
    config: str | None = None
    """for a checkpoint in a single .safetensors file: diffusers folder, or id on the hub, with the configs of such a
    model"""
    variant: str | None = None
    """of the files with a diffusers model's weights, such as fp16"""
    end: Literal["clean", "level"] | None = None
    """of the grids of a diffusers model: clean, no noise at all; level, the first one of the training; what the
    pipeline's own scheduler does where nothing is given"""
    resolution: int | None = None
    """height and width in pixels, for diffusers models; what the model was trained on where none is given"""
    distance: str = "mse"
    """of an image to the teacher's, for the fit and the table: mse, pseudo_huber or lpips"""
    seed: int = 0
    """of all random numbers"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda, cuda:1"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the network's inner arithmetic (autocast); of a diffusers model, of all its weights, which are loaded in it"""
    compile: bool = False
    """run the network through torch.compile"""
    out: Path = Path("out/images")
    """folder for the results; a run that was interrupted there goes on"""
    grid: tuple[Path, ...] = ()
    """learned grids saved by an earlier run, one for each NFE, instead of fits"""
    teacher_nfe: int = TEACHER.nfe
    """network evaluations an image of the teacher"""
    fit_pairs: int = FIT_PAIRS
    """teacher pairs that a fit may see, none of which is evaluated"""
    batch: int = BATCH
    """images side by side; lower it where memory runs out"""
    learn: Learn = "joint"
    """times: those of the solver alone, which every other sampler can take; joint: also the levels that the network is
    given, which is better; coefficients: those of a multistep solver, on the best grid that is not learned; all: joint,
    and then the coefficients as well, at twice the gradients"""
    checkpoint: bool = False
    """in the fit, compute activations again in place of keeping them: slower, in less memory"""
    fit_steps: int = FIT.steps
    """gradient steps of a fit, for each of its phases"""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return found

    def fit_config(self) -> FitConfig:
        """Settings of the fits."""
        config = replace(FITS[self.learn], steps=self.fit_steps, seed=self.seed)
        return replace(config, chunk=self.batch, checkpoint=self.checkpoint)


@dataclass(frozen=True)
class Choices:
    """Options that were read and found possible."""

    options: Options
    solver: Solver
    model_options: ModelOptions


def check(options: Options) -> Choices:
    """Read the options, and make the output folder.

    Raises:
        InputError: naming the option, what is wrong with it, and the remedy.
    """
    check_numbers(options, {"samples": 2, "seed": 0, "fit_pairs": 2, "fit_steps": 0, "batch": 1})
    if options.guidance is not None and not 0 <= options.guidance < float("inf"):
        raise mistake("guidance", f"got {options.guidance}", "give a number >= 0")
    if options.distance not in DISTANCES:
        raise mistake("distance", f"got '{options.distance}'", f"choose one of {', '.join(DISTANCES)}")
    if any(not prompt.strip() for prompt in options.prompts):
        raise mistake("prompts", "one of them is empty", "give texts, or leave --prompts out")
    solver = find_solver(options.solver)
    if any(phase in WITH_COEFFICIENTS for phase in FITS[options.learn].phases) and not solver.multistep:
        message = f"{solver.name} remembers no earlier step, so that it has no coefficients to learn"
        raise mistake("learn", message, f"use --learn joint, or a multistep solver such as --solver {SOLVER}")
    check_nfe("nfe", options.nfe, solver)
    check_nfe("teacher_nfe", (options.teacher_nfe,), get_solver(TEACHER.solver))
    if options.guidance is not None and not 0 <= options.guidance < math.inf:
        raise mistake("guidance", f"got {options.guidance}", "give a number >= 0")
    if options.resolution is not None and options.resolution < 1:
        raise mistake("resolution", f"got {options.resolution}", "give the pixels of a side")
    wanted = ModelOptions(
        device=find_device(options.device),
        labels=_labels(options.label),
        prompts=options.prompts,
        guidance=options.guidance,
        negative_prompt=options.negative_prompt,
        config=options.config,
        variant=options.variant,
        end=options.end,
        resolution=options.resolution,
        distance=options.distance,
        precision=_PRECISIONS[options.precision],
        compile=options.compile,
    )
    prepare_folder(options.out)
    return Choices(options, solver, wanted)


def _labels(text: str) -> tuple[int | None, ...]:
    """Empty for all classes."""
    if text in ("all", "none"):
        return () if text == "all" else (None,)
    try:
        return (int(text),)
    except ValueError as error:
        raise mistake("label", f"got '{text}'", "give the number of a class, all or none") from error
