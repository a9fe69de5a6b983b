"""Learning a grid: teacher pairs, the soft surrogate loss, and the fit."""

from ld3.learn.checks import check_fit
from ld3.learn.config import FitConfig
from ld3.learn.final_test import Comparison, FinalTest
from ld3.learn.fit import fit
from ld3.learn.fit_warp import WarpConfig, fit_warp
from ld3.learn.learn_grid import learn_grid
from ld3.learn.learned_coefficients import LearnedCoefficients
from ld3.learn.learned_grid import LearnedGrid
from ld3.learn.loss import bounded, soft_loss
from ld3.learn.plan import most_evaluations
from ld3.learn.result import FitResult, Point
from ld3.learn.student import Phase, Student
from ld3.learn.teacher import Pairs, Teacher, other_flows, parts, run_teacher
from ld3.learn.warp import Warp
from ld3.learn.warp_result import WarpFit

__all__ = [
    "Comparison",
    "FinalTest",
    "FitConfig",
    "FitResult",
    "LearnedCoefficients",
    "LearnedGrid",
    "Pairs",
    "Phase",
    "Point",
    "Student",
    "Teacher",
    "Warp",
    "WarpConfig",
    "WarpFit",
    "bounded",
    "check_fit",
    "fit",
    "fit_warp",
    "learn_grid",
    "most_evaluations",
    "other_flows",
    "parts",
    "run_teacher",
    "soft_loss",
]
