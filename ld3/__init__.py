"""Learned discretisation of probability-flow ODEs, for any state that can be moved by a tangent."""

from __future__ import annotations

from ld3 import learn, testing
from ld3.clock import Clock
from ld3.flow import ArrayFlow, EuclideanFlow, ProbabilityFlow, noise_from_clean, noise_from_v, noise_from_velocity
from ld3.grids import HAND_MADE, Grid
from ld3.learn import FitConfig, FitResult, Teacher, learn_grid
from ld3.sampling import sample
from ld3.schedules import EDM, VE, RectifiedFlow, Schedule, VPCosine, VPDiscrete, VPLinear, VPSteps
from ld3.solvers import SOLVERS, Solver, get_solver, integrate, solve
from ld3.state import Levels, State, Tangent

__all__ = [
    "EDM",
    "HAND_MADE",
    "SOLVERS",
    "VE",
    "ArrayFlow",
    "Clock",
    "EuclideanFlow",
    "FitConfig",
    "FitResult",
    "Grid",
    "Levels",
    "ProbabilityFlow",
    "RectifiedFlow",
    "Schedule",
    "Solver",
    "State",
    "Tangent",
    "Teacher",
    "VPCosine",
    "VPDiscrete",
    "VPLinear",
    "VPSteps",
    "__version__",
    "get_solver",
    "integrate",
    "learn",
    "learn_grid",
    "noise_from_clean",
    "noise_from_v",
    "noise_from_velocity",
    "sample",
    "solve",
    "testing",
]

__version__ = "0.1.0"
