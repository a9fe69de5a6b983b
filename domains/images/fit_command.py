"""`ld3 fit`: a grid for a model and a sampler, from the command line."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import torch
import tyro
from rich.console import Console

from domains.exits import run_command
from domains.fit_cost import LEAST_PAIRS, afford, seconds_a_call
from domains.images.conditioned import ConditionedFlow
from domains.images.diffusers.flow import DiffusersFlow
from domains.images.export import TARGETS, Target
from domains.images.fit_sheet import compare, own_is_nearer, write_sheet
from domains.images.fits import learn_grid
from domains.images.models.load import load
from domains.images.models.options import ModelOptions
from domains.images.settings import BATCH, FIT_PAIRS, FITS, SOLVER, TEACHER, Learn
from domains.options import check_numbers, check_out, find_device
from domains.progress import WorkProgress
from ld3.learn import FitResult
from ld3.learn.teacher import too_coarse
from ld3.single_path import STRAIGHT
from ld3.solvers import get_solver

_PRECISIONS: Final[Mapping[str, torch.dtype | None]] = {
    "float32": None,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Fit:
    """Learn where the few network evaluations of an image model go, for the sampler that will make them."""

    model: str
    """digits, a .safetensors file of ours, a diffusers folder, the id of a model on the hub, or, with --config, a
    checkpoint in a single .safetensors file"""
    out: Path
    """file for the fit, a .json; a picture and what an interrupted run goes on from lie beside it"""
    target: Annotated[Target, tyro.conf.arg(name="for")] = "diffusers"
    """who will sample: it decides the solver, and what may be learned; json: a program of your own"""
    nfe: int = 5
    """network evaluations an image"""
    prompts: Path | None = None
    """text file in UTF-8, a prompt a line, for models that take prompts"""
    guidance: float | None = None
    """scale of guidance; what the pipeline takes where none is given"""
    negative_prompt: str | None = None
    """what guidance leads away from"""
    resolution: int | None = None
    """height and width in pixels; what the model was trained on where none is given"""
    end: Literal["clean", "level"] | None = None
    """of the grid: clean, no noise; level, the first one of the training; what the pipeline's own scheduler does where
    nothing is given"""
    minutes: float | None = None
    """stop the fit about then: fewer pairs, and no gradient steps after it"""
    pairs: int = FIT_PAIRS
    """teacher runs to learn from, to choose by and to test on"""
    steps: int = FITS["joint"].steps
    """gradient steps, at most"""
    teacher_nfe: int = TEACHER.nfe
    """network evaluations of a teacher run"""
    batch: int = BATCH
    """images side by side; lower it where memory runs out"""
    samples: int = 4
    """images of the picture; 16 times as many are compared"""
    config: str | None = None
    """for a checkpoint in a single file: diffusers folder, or id on the hub, with the configs, scheduler and tokenizers
    of such a model; its weights are not read"""
    variant: str | None = None
    """of the files with the weights, such as fp16"""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """of the weights of a diffusers model"""
    device: str = "cpu"
    """as torch writes it: cpu, cuda"""
    seed: int = 0
    """of noise and batches"""

    def run(self) -> int:
        """Fit, and say what came of it; the exit status."""
        log = Console(stderr=True, highlight=False, soft_wrap=True)
        return run_command(partial(self._fit, log), log, "lower --batch", self._cache, (ValueError, OSError))

    @property
    def _cache(self) -> Path:
        return self.out.with_suffix(".cache")

    def _fit(self, log: Console) -> int:
        self._check()
        flow = load(self.model, self._options())
        for line in flow.remarks:
            log.print(f"note: {line}", markup=False)
        if self.target == "diffusers" and not isinstance(flow, DiffusersFlow):
            raise ValueError(f"--for diffusers: {self.model} is no pipeline of diffusers; give --for json")
        solver, learn = choice(flow, self.target)
        config = replace(FITS[learn], steps=self.steps, seed=self.seed)
        get_solver(solver).steps(self.nfe)
        teacher = replace(TEACHER, nfe=self.teacher_nfe)
        log.print(f"{solver}, learning {learn}", markup=False)
        seconds = seconds_a_call(flow, flow.starts(min(self.batch, self.pairs), 0))
        pairs, config = afford(seconds, self.nfe, self.pairs, self.minutes, teacher, config, log)
        stage = f"fit, {self.nfe} NFE"
        with WorkProgress(log, {stage: 1.0}) as progress, progress.stage(stage), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the teacher is .* from twice its steps")  # said below, on more samples
            fit = learn_grid(
                flow,
                self.nfe,
                solver=solver,
                learn=config,
                pairs=pairs,
                seed=self.seed,
                batch=self.batch,
                teacher=teacher,
                target=self.target,
                folder=self._cache,
                on_progress=progress.follow(),
            )
        fit.save(self.out)
        rows = compare(flow, fit, teacher, 16 * self.samples, self.batch, self.seed)
        for row in rows:
            print(row.line())
        if remark := too_coarse(rows[0].distance, rows[1].distance):
            log.print(f"note: {remark} (--teacher-nfe)", markup=False)
        if remark := own_is_nearer(rows):
            log.print(f"note: {remark}", markup=False)
        print(fit.describe())
        picture = self.out.with_suffix(".png")
        write_sheet(picture, rows, self.samples)
        print(f"fit: {self.out}; picture: {picture}; for {self.target}:\n")
        print(self._exported(fit))
        return 0

    def _exported(self, fit: FitResult) -> str:
        if self.target == "json":
            program = (
                f"from domains import images; images.sample(model, images.FitResult.load({str(self.out)!r}), n=16)"
            )
            return f"{program}\nld3 export {self.out} --to json  # all numbers"
        prompted = "guidance" in fit.about or self.target != "diffusers"
        return TARGETS[self.target if prompted else "diffusers-unconditional"](fit, self.out)

    def _check(self) -> None:
        """What can be refused before the model is loaded.

        Raises:
            ValueError, InputError: naming the option.
        """
        check_out(self.out)
        check_numbers(self, {"nfe": 1, "pairs": LEAST_PAIRS, "batch": 1, "samples": 1, "steps": 1, "teacher_nfe": 1})
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes must be above 0, got {self.minutes}")
        find_device(self.device)

    def _options(self) -> ModelOptions:
        return ModelOptions(
            prompts=() if self.prompts is None else read_prompts(self.prompts),
            guidance=self.guidance,
            negative_prompt=self.negative_prompt,
            resolution=self.resolution,
            end=self.end,
            config=self.config,
            variant=self.variant,
            device=torch.device(self.device),
            precision=_PRECISIONS[self.precision],
        )


def choice(flow: ConditionedFlow, target: str) -> tuple[str, Learn]:
    """The solver, and what may be learned, so that the target can be told all of it.

    diffusers takes everything by way of `LearnedScheduler`; but pipelines that show the network their noise as it is
    call it once more where it is told other levels than the solver's, so that these learn coefficients instead.
    ComfyUI's and k-diffusion's samplers take a list of levels: of straight paths Euler's, else DPM-Solver++(2M)'s.
    """
    straight = type(flow.schedule).__name__ in STRAIGHT
    if target in ("comfyui", "k-diffusion"):
        return ("ddim" if straight else "dpmpp_2m"), "times"
    return SOLVER, "joint" if flow.scales_noise else "coefficients"


def read_prompts(path: Path) -> tuple[str, ...]:
    """A prompt from each line that is not empty.

    Raises:
        ValueError: if the file cannot be read, is no UTF-8, or holds no prompt.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"--prompts {path}: the file is no UTF-8 text (byte {error.start}); save it as UTF-8"
        ) from error
    except OSError as error:
        raise ValueError(f"--prompts {path}: cannot be read ({error.strerror})") from error
    prompts = tuple(line.strip() for line in lines if line.strip())
    if not prompts:
        raise ValueError(f"--prompts {path}: the file holds no prompt; write one a line")
    return prompts
