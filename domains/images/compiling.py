"""Whether torch.compile works on this machine."""

from __future__ import annotations

import torch
from torch import Tensor

from domains.errors import InputError, InputProblem


def check_compiler(device: torch.device) -> None:
    """Compile something small, since torch asks for its compiler only where a network is first called.

    Raises:
        InputError: if that fails.
    """
    try:
        torch.compile(_small, options={"fx_graph_cache": False})(torch.ones(2, device=device))
    except Exception as error:  # torch's own, the compiler's, the system's
        cause = str(error).strip().partition("\n")[0]
        message = f"torch.compile does not work here ({cause})"
        remedy = "leave it out, or install a C++ compiler, and Triton where there is a GPU"
        raise InputError(InputProblem("--compile", "", message, remedy)) from error


def _small(x: Tensor) -> Tensor:
    return 2 * x.sin() + 1
