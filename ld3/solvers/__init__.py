"""Solvers: rules that combine displacements, and the loop that applies them."""

from __future__ import annotations

from ld3.solvers.coefficients import Coefficients
from ld3.solvers.integrate import integrate
from ld3.solvers.node import Node, Rule
from ld3.solvers.registry import SOLVERS, get_solver
from ld3.solvers.sde import EULER_MARUYAMA, EXPONENTIAL_SDE, Noise, noise_from
from ld3.solvers.solve import OnStep, solve
from ld3.solvers.solver import Solver

__all__ = [
    "EULER_MARUYAMA",
    "EXPONENTIAL_SDE",
    "SOLVERS",
    "Coefficients",
    "Node",
    "Noise",
    "OnStep",
    "Rule",
    "Solver",
    "get_solver",
    "integrate",
    "noise_from",
    "solve",
]
