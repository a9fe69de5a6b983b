"""Fits of a mixture in the plane: the flow, also counted or broken, its teacher's pairs, and quick settings."""

from __future__ import annotations

import dataclasses

import torch
from flows import F64, MixtureFlow
from torch import Tensor

from ld3 import EDM, ProbabilityFlow
from ld3.learn import FitConfig, Pairs, Teacher, run_teacher
from ld3.solvers import get_solver

SOLVER = get_solver("dpmpp_2m")
ADAM = FitConfig(optimiser="adam", shared_clock=True, phases=("times", "joint"), patience=3)
QUICK = dataclasses.replace(ADAM, steps=40, validate_every=5)


def mixture() -> MixtureFlow:
    g = torch.Generator().manual_seed(3)
    mean = 2 * torch.randn(5, 2, generator=g, dtype=F64)
    std = 0.1 + 0.4 * torch.rand(5, 1, generator=g, dtype=F64)[:, 0]
    return MixtureFlow(EDM(), mean, std, torch.full((5,), 0.2, dtype=F64))


def pairs(flow: ProbabilityFlow[Tensor], n: int, seed: int, nfe: int = 96) -> Pairs[Tensor]:
    start = flow.prior(n, torch.Generator().manual_seed(seed))
    return run_teacher(flow, start, Teacher(nfe=nfe, checked=8, chunk=50))


class Counting(MixtureFlow):
    """Counts evaluations per sample."""

    evaluations = 0

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        self.evaluations += len(x_t)
        return super().noise(x_t, t)

    def fingerprint(self) -> str:
        return "counting"


def counting() -> Counting:
    flow = mixture()
    return Counting(flow.schedule, flow.mean, flow.std, flow.weight)


class Breaking(MixtureFlow):
    """The network gives NaN for samples far to the left."""

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.where(x_t[:, :1] < -150.0, torch.nan, super().noise(x_t, t))

    def fingerprint(self) -> str:
        return "breaking"
