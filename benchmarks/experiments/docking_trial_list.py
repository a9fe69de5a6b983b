"""The fits that are tried, each with one thing changed from the fit of `domains.docking.settings`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from domains.docking.settings import fit_config
from ld3.learn import FitConfig

USUAL: Final = "usual"


@dataclass(frozen=True)
class Trial:
    """A fit.

    Attributes:
        name: of the row.
        asks: what the row is there to show.
        change: fields of the usual `FitConfig` that differ.
        share: of the usual teacher pairs.
        general: whether the model's general grid is among the starts.
    """

    name: str
    asks: str
    change: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    general: bool = False

    def config(self, nfe: int) -> FitConfig:
        """Of the fit, without its seed."""
        return replace(fit_config(nfe), **self.change)


_BALLS: Final = (0.005, 0.02, 0.05, 0.2)


def ball(radius: float) -> str:
    """The name of the fit in a ball of that radius; radius 0 is the usual fit."""
    return f"ball {radius:g}" if radius else USUAL


RADII: Final = {ball(radius): radius for radius in (0.0, *_BALLS)}
"""Fit -> radius in standard deviations of the prior. With the largest, a start moves by up to 1 Å and 0.3 rad."""

TRIALS: Final = (
    Trial(USUAL, "the usual fit, from the best hand-made grid"),
    Trial("general", "the same from the model's general grid: what the benchmark does", general=True),
    Trial("general, no fit", "the general grid as it is", {"steps": 0}, general=True),
    Trial("one clock", "the same times for all factors", {"shared_clock": True}),
    Trial("times only", "the network is told the solver's levels", {"phases": ("times",)}),
    Trial("coefficients", "solver coefficients are learned as well", {"phases": ("all",)}),
    *(
        Trial(ball(radius), f"starts move by up to {radius:g} standard deviations of the prior", {"radius": radius})
        for radius in _BALLS
    ),
    Trial("unbounded", "mean squared displacement, not bounded", {"scale": None}),
    Trial("few pairs", "a quarter of the pairs, each seen four times as often", share=0.25),
)
