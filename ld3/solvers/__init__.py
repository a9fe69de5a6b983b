"""Solvers: rules that combine displacements, and the loop that applies them."""

from __future__ import annotations

from ld3.solvers.integrate import Node, Rule, Solver, integrate
from ld3.solvers.registry import SOLVERS, get_solver

__all__ = ["SOLVERS", "Node", "Rule", "Solver", "get_solver", "integrate"]
