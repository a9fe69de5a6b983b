"""The last word of a fit: the learned student against the best hand-made grid, on pairs that chose neither of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, final, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student_t
from torch import Tensor

from ld3.saved_values import count, loss, table, text, value_of, values_of

FEWEST: Final = 20
"""Pairs, or groups of them, below which there is no test: fewer say little about losses that are rare and large."""

_LEVEL: Final = 0.95
_RESAMPLES: Final = 1999
_LEAST: Final = 0.1  # error of a resample that happens to lack all that differs, as a share of the sample's own

Verdict = Literal["better", "not better", "nothing learned", "too few pairs"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)


@final
@dataclass(frozen=True)
class Comparison:
    """Losses over the test.

    Attributes:
        learned, by_hand: mean losses; infinite where a sample broke and the distance is unbounded.
        difference: learned minus by_hand, of the mean bounded losses; below zero the learned one is nearer to the
            teacher.
        low, high: ends of its 95% interval, :func:`interval`.
    """

    learned: float
    by_hand: float
    difference: float
    low: float
    high: float


@final
@dataclass(frozen=True)
class FinalTest:
    """What the test found.

    Attributes:
        units: pairs that it was made on, or groups of pairs where these belong together.
        against: name of the hand-made grid that the validation pairs like best.
        verdict: "better": the mean loss is lower, and the whole interval below zero; "nothing learned": the student is
            that very grid; "too few pairs": less than `FEWEST`. With all but "better" a fit returns the hand-made grid.
        figures: None where nothing was evaluated.
    """

    units: int
    against: str
    verdict: Verdict
    figures: Comparison | None = None

    @property
    def accepted(self) -> bool:
        """Whether the learned student comes back."""
        return self.verdict == "better"

    def describe(self) -> str:
        """One line."""
        back = f"{self.against}, made by hand, comes back"
        if self.verdict == "nothing learned":
            return f"final test: learning found nothing better than {self.against} on the validation pairs; {back}"
        if self.figures is None:
            return f"final test: {self.units} pairs held back are too few (at least {FEWEST}); {back}"
        found = self.figures
        outcome = "the learned one is nearer to the teacher" if self.accepted else f"not shown to be better; {back}"
        return (
            f"final test on {self.units} held back: learned {found.learned:.4g}, {self.against} by hand "
            f"{found.by_hand:.4g}; bounded, the difference is {found.difference:+.3g} "
            f"[{found.low:+.3g}, {found.high:+.3g}]: {outcome}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data that `from_dict` reads back; infinite losses may be written as null."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, object]) -> FinalTest:
        """What `to_dict` gave.

        Raises:
            ValueError: naming the value that is missing or of another type.
        """
        found_verdict = value_of(content, "verdict", text)
        verdict = next((known for known in VERDICTS if known == found_verdict), None)
        if verdict is None:
            raise ValueError(f"test.verdict must be one of {', '.join(VERDICTS)}, got {found_verdict!r}")
        figures = content.get("figures")
        if (figures is None) != (verdict in ("nothing learned", "too few pairs")):
            raise ValueError(f"test.figures must go with the verdict {verdict!r}, got {figures!r}")
        names = dict.fromkeys(("learned", "by_hand", "difference", "low", "high"), loss)
        found = None if figures is None else Comparison(**values_of(table("test.figures", figures), names))
        return cls(value_of(content, "units", count), value_of(content, "against", text), verdict, found)


def read_test(name: str, value: object) -> FinalTest | None:
    """The test of a saved fit, or None where there was none.

    Raises:
        ValueError: naming the value that is missing or of another type.
    """
    return None if value is None else FinalTest.from_dict(table(name, value))


def judge(learned: Tensor, by_hand: Tensor, bound: bool, groups: Tensor | None, against: str) -> FinalTest:
    """The verdict on losses of the same pairs.

    Squared distances to a teacher are often dominated by a few samples, and a mean of these tells two grids apart only
    after hundreds. The interval is therefore one of bounded losses, d/(d + m) with the hand-made grid's median m: a far
    sample counts as one miss. The mean loss, which was minimised, must be lower as well.

    A learned student with which a sample breaks has lost. Samples that break with the hand-made grid alone count as the
    worst loss that there is.

    Args:
        learned, by_hand: (n,), where an infinite loss is a sample that broke.
        bound: whether to bound them; False where they are bounded already.
        groups: (n,), which pairs belong together: their mean counts once. None = every pair for itself.
        against: name of the hand-made grid.
    """
    units = len(by_hand) if groups is None else len(groups.unique())
    if units < FEWEST:
        return FinalTest(units, against, "too few pairs")
    if not learned.isfinite().all():
        mean = float(by_hand.mean())
        return FinalTest(units, against, "not better", Comparison(math.inf, mean, math.inf, math.inf, math.inf))
    worst = torch.cat([learned, by_hand[by_hand.isfinite()]]).max()
    by_hand = torch.where(by_hand.isfinite(), by_hand, worst)
    sides = [values.double().cpu() for values in (learned, by_hand)]
    means = [float(_group_means(values, groups).mean()) for values in sides]
    if bound:
        median = sides[1].median().clamp(min=torch.finfo(torch.float64).tiny)
        sides = [values / (values + median) for values in sides]
    differences = _group_means(sides[0] - sides[1], groups)
    low, high = interval(differences.numpy())
    found = Comparison(means[0], means[1], float(differences.mean()), low, high)
    return FinalTest(units, against, "better" if high < 0 and means[0] < means[1] else "not better", found)


def interval(differences: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """A cautious 95% interval of the mean of independent differences (n,): the hull of two.

    Student's t errs where losses that are rare and large make the differences skew; the bootstrap of the studentised
    mean (Efron & Tibshirani 1993, section 12.5) follows the skewness and errs where tails are heavy on both sides.
    The resampling is seeded: equal differences have equal intervals.
    """
    n, mean = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    drawn = np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
    resampled = differences[drawn]
    errors = resampled.std(axis=1, ddof=1) / math.sqrt(n)
    if error == 0:
        return mean, mean
    scores = (resampled.mean(axis=1) - mean) / np.maximum(errors, _LEAST * error)
    tails = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)
    first, last = np.quantile(scores, tails)
    reach = float(student_t.ppf(tails[1], n - 1))
    return mean - error * max(reach, float(last)), mean + error * max(reach, -float(first))


def _group_means(values: Tensor, groups: Tensor | None) -> Tensor:
    """(n,) -> the mean of each group, (G,)."""
    if groups is None:
        return values
    _, index = groups.cpu().unique(return_inverse=True)
    sums, sizes = (torch.bincount(index, weights) for weights in (values, torch.ones_like(values)))
    return sums / sizes
