"""`ld3 fit --flow`: a grid for a flow that a user has written."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
from rich.console import Console

from domains.exits import run_command
from domains.fit_cost import LEAST_PAIRS, afford, seconds_a_call
from domains.options import check_numbers, check_out, find_device, find_solver
from domains.own_flow import load_flow
from domains.progress import WorkProgress
from domains.schedule_record import schedule_record
from domains.seeds import seed_of
from ld3 import HAND_MADE, ProbabilityFlow, sample
from ld3.learn import FitConfig, FitResult, Phase, Teacher, learn_grid, run_teacher
from ld3.learn.checks import check_fit
from ld3.learn.teacher import too_coarse
from ld3.solvers import Solver
from ld3.testing import FlowCheckError, check_flow

PHASES: Final[dict[str, tuple[Phase, ...]]] = {
    "times": ("times",),
    "joint": ("joint",),
    "coefficients": ("coefficients",),
    "all": ("joint", "all"),
}
_COMPARED: Final = 64  # fresh starts for the last table


@dataclass(frozen=True)
class Fit:
    """Learn where the few network evaluations of a flow of your own go; the flow is checked first."""

    flow: str
    """my_module:MyFlow or file.py:MyFlow, found from the working directory: a class or function that needs no
    arguments, or a flow"""
    out: Path
    """file for the fit, a .json; what an interrupted run goes on from lies beside it"""
    nfe: int = 5
    """network evaluations a sample"""
    solver: str = "dpmpp_2m"
    """that takes the steps"""
    learn: Literal["times", "joint", "coefficients", "all"] | None = None
    """what: the solver's times; also the levels that the network is given; the solver's coefficients; or all; what
    FitConfig() learns where nothing is given"""
    one_clock: bool = False
    """one clock for all factors of the state, instead of one for each"""
    scale: float | None = None
    """of the bounded distance, in units of the flow's distance before squaring, for samples that may end in another
    mode than the teacher's"""
    minutes: float | None = None
    """stop the fit about then: fewer pairs, and no gradient steps after it"""
    pairs: int = 640
    """teacher runs to learn from, to choose by and to test on"""
    steps: int = FitConfig().steps
    """gradient steps a phase, at most"""
    teacher_nfe: int = Teacher().nfe
    """network evaluations of a teacher run"""
    batch: int = FitConfig().chunk
    """samples side by side; lower it where memory runs out"""
    trained: bool = True
    """whether the network has been trained; untrained ones need not denoise"""
    device: str = "cpu"
    """of the samples: cpu, cuda"""
    seed: int = 0
    """of starts and batches"""

    def run(self) -> int:
        """Fit, and say what came of it; the exit status."""
        log = Console(stderr=True, highlight=False, soft_wrap=True)
        refusals = (ValueError, OSError, FlowCheckError)
        return run_command(partial(self._fit, log), log, "lower --batch", self._cache, refusals)

    @property
    def _cache(self) -> Path:
        return self.out.with_suffix(".cache")

    def _fit(self, log: Console) -> int:
        self._check()
        solver = find_solver(self.solver)
        config = self._config()
        teacher = Teacher(nfe=self.teacher_nfe, chunk=self.batch)
        flow = load_flow(self.flow)
        try:
            check_fit(flow, solver, self.nfe, config, {})
        except TypeError as error:
            raise ValueError(f"{self.flow}: {error}") from error
        log.print(f"checking the laws of {self.flow}", markup=False)
        report = check_flow(flow, self._generator("check"), trained=self.trained)
        log.print(f"{len(report.laws)} laws hold", markup=False)
        start = flow.prior(min(self.batch, self.pairs), self._generator("time"))
        log.print(f"{solver.name}, learning {' then '.join(config.phases)}", markup=False)
        seconds = seconds_a_call(flow, start)
        pairs, config = afford(seconds, self.nfe, self.pairs, self.minutes, teacher, config, log)
        fit = self._learn(flow, solver, teacher, config, pairs, log)
        about = {"model": self.flow, "network": flow.fingerprint(), **schedule_record(flow.clock)}
        fit = replace(fit, about=about | {"network_calls": fit.nfe})
        fit.save(self.out)
        self._compare(flow, fit, teacher, log)
        print(fit.describe())
        print(f"fit: {self.out}; in Python:\n")
        print("from ld3 import FitResult, sample\n")
        print(f"x = sample(flow, FitResult.load({str(self.out)!r}), 16)")
        return 0

    def _learn(
        self,
        flow: ProbabilityFlow[Any],
        solver: Solver,
        teacher: Teacher,
        config: FitConfig,
        pairs: int,
        log: Console,
    ) -> FitResult:
        stage = f"fit, {self.nfe} NFE"
        with WorkProgress(log, {stage: 1.0}) as progress, progress.stage(stage), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "the teacher is .* from twice its steps")  # said at the end, on more
            return learn_grid(
                flow,
                self.nfe,
                solver=solver,
                start=flow.prior(pairs, self._generator("fit")),
                config=config,
                teacher=teacher,
                folder=self._cache,
                on_progress=progress.follow(),
            )

    def _compare(self, flow: ProbabilityFlow[Any], fit: FitResult, teacher: Teacher, log: Console) -> None:
        """The teacher, the fit and the best grid made by hand, from starts that no fit has seen."""
        start = flow.prior(_COMPARED, self._generator("compare"))
        pairs = run_teacher(flow, start, replace(teacher, checked=_COMPARED))
        best = min(fit.hand_made, key=fit.hand_made.__getitem__)
        by_hand = HAND_MADE[best](flow.clock, fit.grid.n_steps)
        ends = {f"this fit ({fit.solver})": sample(flow, fit, start)}
        ends[f"{best} ({fit.solver})"] = sample(flow, by_hand, start, solver=fit.solver)
        off = float(pairs.disagreement.mean())
        print(f"{'teacher':<32} {teacher.nfe:>4} calls   {off:.3g} to twice its steps")
        found = {name: float(flow.distance(end, pairs.end).mean()) for name, end in ends.items()}
        for name, distance in found.items():
            print(f"{name:<32} {fit.nfe:>4} calls   {distance:.3g} to the teacher")
        if remark := too_coarse(off, next(iter(found.values()))):
            log.print(f"note: {remark} (--teacher-nfe)", markup=False)

    def _config(self) -> FitConfig:
        config = FitConfig(seed=self.seed, steps=self.steps, chunk=self.batch, scale=self.scale)
        config = replace(config, shared_clock=self.one_clock)
        return config if self.learn is None else replace(config, phases=PHASES[self.learn])

    def _check(self) -> None:
        check_out(self.out)
        check_numbers(self, {"nfe": 1, "pairs": LEAST_PAIRS, "batch": 1, "steps": 1, "teacher_nfe": 1})
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"--minutes must be above 0, got {self.minutes}")
        find_device(self.device)

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed_of(self.seed, purpose))
