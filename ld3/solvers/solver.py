"""What a solver is: rules, and how the loop uses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor

from ld3.solvers.coefficients import Basis, Coefficients, clean_basis
from ld3.solvers.node import Rule

Spread = Callable[[Tensor, Tensor, float], Tensor]
"""(λ at the step's start, at its end, score scale) -> standard deviation of the fresh noise that the step adds."""


@final
@dataclass(frozen=True)
class Solver:
    """A predictor rule, perhaps a corrector rule, and how they are used.

    Attributes:
        name: name in the registry.
        order: of convergence; a multistep predictor is handed this many nodes once there are enough.
        predictor: rule from the newest node onwards; one for all factors, or one for each.
        corrector: rule that repeats the step with the evaluation at its arrival.
        reevaluate: evaluate again at the corrected point (Heun: 2 NFE a step; the last node has no network level of its
            own, so the network is given the solver's) instead of keeping the evaluation at the predicted one (UniPC: 1
            NFE a step, and no corrector after the last).
        cool_down: lower the order to the number of steps left, so that the last step is of order 1.
        finite_end: the rules cannot take a step to λ = +inf.
        basis: what learned coefficients weigh.
        coefficients: learned, to be added to the weights of the rules; None leaves them as published.
        spread: of a stochastic solver, which adds noise in every step but the last; for all factors or one for each.
        data_mean: as `ProbabilityFlow.data_mean` has it; given, the first step is taken with it as the clean prediction
            in place of the network's, which at most noise has nothing else to say (the analytical first step of
            Dockhorn et al., arXiv 2210.05475): one step more for as many evaluations.

    Raises:
        ValueError: if a solver that evaluates each step twice is given a `data_mean`.
    """

    name: str
    order: int
    predictor: Rule | Mapping[str, Rule]
    corrector: Rule | None = None
    reevaluate: bool = False
    cool_down: bool = False
    finite_end: bool = False
    basis: Basis = clean_basis
    coefficients: Coefficients | None = None
    spread: Spread | Mapping[str, Spread] | None = None
    data_mean: Mapping[str, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.reevaluate and self.data_mean is not None:
            raise ValueError(f"data_mean must be None for {self.name}, which evaluates every step twice")

    @property
    def nfe_per_step(self) -> int:
        """Evaluations of the network per step."""
        return 2 if self.reevaluate else 1

    @property
    def multistep(self) -> bool:
        """Whether a step uses what the network said in earlier ones."""
        return not self.reevaluate and (self.order > 1 or self.corrector is not None)

    def steps(self, nfe: int) -> int:
        """The number of steps that spends exactly `nfe` evaluations.

        Raises:
            ValueError: if there is none.
        """
        if nfe < self.nfe_per_step or nfe % self.nfe_per_step:
            raise ValueError(f"nfe must be a positive multiple of {self.nfe_per_step} for {self.name}, got {nfe}")
        return nfe // self.nfe_per_step + (self.data_mean is not None)

    def evaluations(self, n_steps: int) -> int:
        """Of the network, in a run of `n_steps`."""
        return self.nfe_per_step * n_steps - (self.data_mean is not None)
