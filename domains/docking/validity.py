"""Are poses physically plausible? The checks of PoseBusters (Buttenschoen et al. 2024, doi 10.1039/D3SC04185A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from domains.docking.complexes import Complex


@dataclass(frozen=True)
class Validity:
    """What PoseBusters says about one pose.

    valid    whether every check passed; None if they did not come to an end.
    failed   names of the checks that the pose fails.
    reason   why there is no answer, empty if there is one.
    """

    valid: bool | None
    failed: tuple[str, ...] = ()
    reason: str = ""


def check_poses(
    complex_: Complex, positions: NDArray[Any], processes: int = 2, timeout_s: float = 30.0
) -> list[Validity]:
    """PoseBusters on poses (n, A, 3), Å, in the protein's frame."""
    raise NotImplementedError
