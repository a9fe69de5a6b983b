"""Options and set-up of studies on the reference case that fit several students to the same pairs, seed by seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from benchmarks.common.store import Store
from benchmarks.common.tables import check_page
from benchmarks.experiments import study
from benchmarks.experiments.reference_case.case import ReferenceCase
from domains.options import check_nfe, find_solver, prepare_folder
from ld3 import Solver
from ld3.learn import FitConfig, Pairs, Teacher, run_teacher

PACKAGES: Final = ("torch", "numpy", "scipy")


@dataclass(frozen=True, kw_only=True)
class SamePairs:
    """Options of such a study."""

    fit: FitConfig
    teacher: Teacher
    out: Path
    """folder for the results; a study that was interrupted there goes on"""
    nfe: tuple[int, ...]
    """network evaluations a sample"""
    seeds: tuple[int, ...]
    """of the pairs; one fit each"""
    pairs: int
    """that every fit of a seed learns from; all are in one chunk, as distances of sets need them"""
    solver: str
    """a name of ld3.solvers"""
    fd_samples: int = 10_000
    """samples of a Fréchet distance"""
    page: Path | None = None
    """Markdown page with the markers of the table"""

    def check(self, block: str) -> Solver:
        """The solver; makes the folder.

        Raises:
            InputError: for an option that makes no sense.
        """
        solver = find_solver(self.solver)
        check_nfe("nfe", self.nfe, solver)
        study.check_each_once(nfe=self.nfe, seeds=self.seeds)
        study.check_numbers(pairs=(self.pairs, 2), fd_samples=(self.fd_samples, 2))
        if self.page is not None:
            check_page("page", self.page, block)
        prepare_folder(self.out)
        return solver

    def kept(self, case: ReferenceCase, version: int) -> study.Kept:
        """What earlier runs with the same settings have found."""
        settings = (asdict(self.fit), asdict(self.teacher), self.pairs, self.fd_samples, self.solver)
        return study.Kept(Store(self.out / "cache"), version, case.fingerprint(), *settings)

    def taught(self, case: ReferenceCase, seed: int) -> Pairs[Tensor]:
        """The pairs of a seed."""
        start = case.flow.prior(self.pairs, torch.Generator().manual_seed(seed))
        return run_teacher(case.flow, start, self.teacher)

    def work(self, students: int) -> float:
        """Network evaluations of the fits, about."""
        return float(students * len(self.seeds) * sum(self.nfe) * self.pairs * self.fit.steps)
