"""The solvers by name."""

from __future__ import annotations

from collections.abc import Mapping

from ld3.solvers.adams import adams_bashforth
from ld3.solvers.coefficients import noise_basis
from ld3.solvers.dpm import dpmpp
from ld3.solvers.onestep import ddim, euler_lambda, trapezoid
from ld3.solvers.solver import Solver
from ld3.solvers.unipc import bh1, bh2, corrector, predictor

_ALL = (
    Solver("ddim", order=1, predictor=ddim),
    Solver("euler_lambda", order=1, predictor=euler_lambda, finite_end=True),
    Solver("heun", order=2, predictor=ddim, corrector=trapezoid, reevaluate=True, finite_end=True),
    *(Solver(f"dpmpp_{k}m", order=k, predictor=dpmpp, cool_down=True) for k in (2, 3)),
    *(
        Solver(
            f"unipc_{variant}_{k}",
            order=k,
            predictor=predictor(single),
            corrector=corrector(single),
            cool_down=True,
        )
        for variant, single in (("bh1", bh1), ("bh2", bh2))
        for k in (1, 2, 3)
    ),
    *(Solver(f"ipndm_{k}", order=k, predictor=adams_bashforth, basis=noise_basis) for k in (1, 2, 3, 4)),
)

SOLVERS: Mapping[str, Solver] = {solver.name: solver for solver in _ALL}
"""Name -> solver."""


def get_solver(name: str) -> Solver:
    """The solver called `name`.

    Raises:
        ValueError: listing the names there are.
    """
    if name not in SOLVERS:
        raise ValueError(f"name must be one of {', '.join(SOLVERS)}, got {name!r}")
    return SOLVERS[name]
