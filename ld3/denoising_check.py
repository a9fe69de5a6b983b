"""Does a displacement denoise? A law that every diffusion model obeys, on any state, and what breaks it in practice.

Noise a clean sample x₀ to x = x₀ ⊕ σ̂ z. The displacement is the mean of the way back, d(x) = E[-σ̂ z | x] (Tweedie's
formula), so that what it leaves unexplained is orthogonal to it: E⟨d, -σ̂ z⟩ = E|d|² at every level. The quotient r of
the two is 1 for a right flow. It is -1 where the sign is wrong, σ̂² where a score stands for a displacement, and so on;
a flow that seems to have made one of the usual mistakes is mended on trial, and the mistake is named if that helps.

It is a law about samples of the data. A network that does not sample its data well points from its own samples to where
the data are, whatever small noise was added, and then r falls towards 0 with the noise: it has to be tried on data.

The law holds exactly where noise adds up, on R^n and on tori, and near enough for a check on rotations below one rad.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, final

import torch
from torch import Tensor

from ld3.flow import ArrayFlow, ProbabilityFlow
from ld3.state import Levels, State, Tangent, tensors

ALLOWED: Final = 0.5
"""By how much r may differ from 1: networks are no exact denoisers."""

_LEVELS: Final = (0.2, 0.35, 0.5, 0.65, 0.8)  # shares of the way from noise to data
_STEPS: Final = 40  # from noise to the samples that the law is tried on
_NUMBERS: Final = 2048  # coordinates of a factor, over all samples, from which means are taken
_SIGNIFICANT: Final = 4.0  # standard errors
_WIDEST_TURN: Final = 0.7  # rad per coordinate: beyond, exp of a normal vector is not the noise on SO(3)
_SAME: Final = 1e-6

Displacement = Callable[[State, Levels], Tangent]


@final
@dataclass(frozen=True)
class Denoising:
    """What was found.

    Attributes:
        quotients: factor -> r at each level tried; NaN where a level says nothing.
        worst: factor -> largest significant |r - 1|.
        cause: in words, where the law is broken; None where it holds.
    """

    quotients: Mapping[str, tuple[float, ...]]
    worst: Mapping[str, float]
    cause: str | None


def check_denoising(
    flow: ProbabilityFlow[State], generator: torch.Generator, data: State | None = None, n: int | None = None
) -> Denoising:
    """Try the law on `n` clean samples: `data`, or what the flow itself makes of its prior.

    Args:
        flow: to check; its score scale plays no part.
        generator: on the flow's device.
        data: n clean states, at the flow's last level; None = samples of the flow, whose first law it is to agree with
            itself.
        n: samples; None = as many as give a few thousand numbers, from 8 to 1024.
    """
    if data is not None:
        n = len(next(iter(tensors(data).values())))
    if n is None:
        zero = flow.zero_tangent(flow.prior(1, generator))
        n = min(1024, max(8, _NUMBERS // max(1, min(v.numel() for v in zero.values()))))
    seed = int(torch.randint(2**31, (), generator=torch.Generator().manual_seed(generator.initial_seed())))
    found = _quotients(flow, flow.displacement, n, seed, data)
    worst = _worst(found)
    cause = _ignores_levels(flow, seed)
    if cause is None and max(worst.values()) > ALLOWED:
        cause = _cause(flow, n, seed, data, max(worst.values()))
    return Denoising({factor: tuple(r for r, _ in rows) for factor, rows in found.items()}, worst, cause)


def _cause(flow: ProbabilityFlow[State], n: int, seed: int, data: State | None, misfit: float) -> str:
    """The usual mistake without which the law holds best, in words."""
    best = math.inf
    words = "none of the usual mistakes explains it: is the network trained, and given the levels that it expects?"
    if data is None:
        words += (
            " Or are the samples that it was tried on, the flow's own, unlike its data? Give some of these as data."
        )
    for name, mend in (_OF_ARRAYS if isinstance(flow, ArrayFlow) else _OF_TANGENTS).items():
        if mend is _turned and not any(
            v.shape[-2:] == (3, 3) for v in tensors(flow.prior(1, _generator(seed))).values()
        ):
            continue
        found = _quotients(flow, _mended(flow, mend), n, seed, data)
        holds = max(_worst(found).values()) <= min(ALLOWED, misfit / 2)
        # Also what is not significant counts here: samples of a wrong flow scatter so widely that little is.
        gaps = [min(abs(r - 1), 2.0) for rows in found.values() for r, _ in rows if not math.isnan(r)]
        gap = sum(gaps) - max(gaps)  # the smallest noise says little where data are wide
        if holds and gap < best:
            best, words = gap, name
    return words


def _quotients(
    flow: ProbabilityFlow[State], answer: Displacement[State], n: int, seed: int, data: State | None
) -> dict[str, list[tuple[float, float]]]:
    """Factor -> at each level (r, by how many standard errors the law is off)."""
    device = next(iter(tensors(flow.prior(1, _generator(seed))).values())).device
    generator = torch.Generator(device=device).manual_seed(seed)
    clean = _samples(flow, answer, n, generator) if data is None else data
    found: dict[str, list[tuple[float, float]]] = {factor: [] for factor in flow.clock.schedules}
    for share in _LEVELS:
        levels = _at(flow, share)
        sigma = flow.clock.sigma(levels)
        zero = flow.zero_tangent(clean)
        moving = {f: v != 0 for f, v in answer(clean, levels).items()}  # padding answers nothing
        noise = {
            f: torch.where(
                moving[f], sigma[f].to(v) * torch.randn(v.shape, generator=generator, device=device, dtype=v.dtype), 0.0
            )
            for f, v in zero.items()
        }
        d = answer(flow.retract(clean, noise), levels)
        back = {f: -v for f, v in noise.items()}
        along, length = _inner(flow, d, back), {f: v.square() for f, v in flow.norm(d).items()}
        for f in found:
            found[f].append(_compare(along[f].double(), length[f].double(), float(sigma[f]), _turns(zero[f], clean)))
    return found


def _compare(along: Tensor, length: Tensor, sigma: float, turns: bool) -> tuple[float, float]:
    """r, and how significantly it is not 1; nothing where noise wraps around rotations."""
    if turns and sigma > _WIDEST_TURN:
        return math.nan, 0.0
    if not (along.isfinite().all() and length.isfinite().all()):
        return math.inf, math.inf
    gap = along - length
    error = float(gap.std()) / math.sqrt(len(gap))
    mean = float(length.mean())
    r = float(along.mean()) / mean if mean > 0 else math.inf
    return r, abs(float(gap.mean())) / error if error > 0 else math.inf


def _turns(zero: Tensor, clean: Tensor | tuple[Tensor, ...]) -> bool:
    """Whether a factor may be a rotation: three numbers a sample, and nothing says that they can be added."""
    shape = zero.shape[1:]
    return bool(shape) and shape[-1] == 3 and any(v.shape[-2:] == (3, 3) for v in tensors(clean).values())


def _worst(found: Mapping[str, list[tuple[float, float]]]) -> dict[str, float]:
    return {
        factor: max((abs(r - 1) for r, errors in rows if errors > _SIGNIFICANT), default=0.0)
        for factor, rows in found.items()
    }


@torch.no_grad()
def _samples(flow: ProbabilityFlow[State], answer: Displacement[State], n: int, generator: torch.Generator) -> State:
    """From the prior to the last level by first-order steps (DDIM), even in λ."""
    x = flow.prior(n, generator)
    for k in range(_STEPS):
        before, after = (_at(flow, share / _STEPS) for share in (k, k + 1))
        d = answer(x, before)
        x = flow.retract(x, {f: -torch.expm1(before[f] - after[f]).to(v) * v for f, v in d.items()})
    return x


def _ignores_levels(flow: ProbabilityFlow[State], seed: int) -> str | None:
    """Which factor's answer does not know the level, in words."""
    x = flow.prior(4, _generator(seed))
    first, second = (_at(flow, share) for share in (0.35, 0.65))
    with torch.no_grad():
        if isinstance(flow, ArrayFlow):
            unit = tensors(x)["x"] / flow.prior_scale["x"]
            times = [flow.clock.time(at)["x"] for at in (first, second)]
            answers: list[Tangent] = [{"x": flow.predicted_noise(x, unit, t)} for t in times]
        else:
            answers = [flow.displacement(x, levels) for levels in (first, second)]
    for factor, a in answers[0].items():
        sigma = [flow.clock.sigma(levels)[factor].to(a) for levels in (first, second)]
        scaled = not isinstance(flow, ArrayFlow) and _close(a / sigma[0], answers[1][factor] / sigma[1])
        if _close(a, answers[1][factor]) or scaled:
            return f"the network ignores the time: its answer for {factor!r} is the same at two levels"
    return None


def _close(a: Tensor, b: Tensor) -> bool:
    return a.numel() > 0 and bool((a - b).abs().max() <= _SAME * a.abs().max()) and bool(a.any())


_Mend = Callable[[Tangent, "_Where"], Tangent]


@dataclass(frozen=True)
class _Where:
    """Of a displacement: σ̂ of each factor, α of an array's path, and the fields of the state."""

    sigma: Mapping[str, Tensor]
    alpha: Tensor
    x: Mapping[str, Tensor]


def _mended(flow: ProbabilityFlow[State], mend: _Mend) -> Displacement[State]:
    """The flow's displacement as it would be without the mistake."""

    def answer(x: State, levels: Levels) -> Tangent:
        d = flow.displacement(x, levels)
        sigma = {f: s.to(d[f]) for f, s in flow.clock.sigma(levels).items()}
        alpha = torch.ones(())
        if isinstance(flow, ArrayFlow):
            alpha = flow.schedule.alpha(flow.clock.time(levels)["x"]).to(d["x"])
        return mend(d, _Where(sigma, alpha, tensors(x)))

    return answer


def _scaled(factor: Callable[[Tensor], Tensor]) -> _Mend:
    """The right displacement as a multiple of what was returned, by σ̂."""
    return lambda d, at: {f: factor(at.sigma[f]) * v for f, v in d.items()}


def _turned(d: Tangent, at: _Where) -> Tangent:
    """From the body's frame to the world's, for the factors of three numbers a sample; the others stay."""
    rotation = next(v for v in at.x.values() if v.shape[-2:] == (3, 3))
    own = [f for f, v in d.items() if v.shape == rotation.shape[:-1] and (len(d) == 1 or f.startswith("rot"))]
    return {f: (rotation @ v[..., None])[..., 0] if f in own else v for f, v in d.items()}


_OF_ARRAYS: Final[Mapping[str, _Mend]] = {
    "the noise has the wrong sign": _scaled(lambda s: torch.full_like(s, -1.0)),
    "what is returned as noise looks like a score ∇log p: multiply it by -σ": lambda d, at: {
        "x": -at.sigma["x"] * at.alpha * d["x"]
    },
    "what is returned as noise looks like a clean prediction returned as noise: use noise_from_clean": lambda d, at: {
        "x": -d["x"] / at.sigma["x"] - at.x["x"]
    },
    "it looks like noise from a velocity of the opposite sign: noise_from_velocity takes z - x_0, pass minus yours": (
        lambda d, at: {"x": -2 * at.sigma["x"] / (1 + at.sigma["x"]) * at.x["x"] - d["x"]}
    ),
}
_OF_TANGENTS: Final[Mapping[str, _Mend]] = {
    "it has the wrong sign: return the way from x to the clean prediction": _scaled(lambda s: torch.full_like(s, -1.0)),
    "it looks like a score ∇log p: multiply by σ̂²": _scaled(torch.square),
    "it looks like a score ∇log p of the wrong sign: multiply by -σ̂²": _scaled(lambda s: -s.square()),
    "it looks like predicted noise ε: multiply by -σ̂": _scaled(torch.neg),
    "it looks like a score times σ̂, or noise of the wrong sign: multiply by σ̂": _scaled(lambda s: s),
    "it looks like a rotation vector in the body's frame: turn it into the world's, R v": _turned,
}


def _inner(flow: ProbabilityFlow[State], a: Tangent, b: Tangent) -> dict[str, Tensor]:
    """⟨a, b⟩ of each sample, through the lengths that the flow measures."""
    plus, minus = (flow.norm({f: a[f] + sign * b[f] for f in a}) for sign in (1, -1))
    return {f: (plus[f].square() - minus[f].square()) / 4 for f in a}


def _at(flow: ProbabilityFlow[State], share: float) -> Levels:
    """λ at a share of the way from noise to data."""
    return {
        f: torch.tensor(start + share * (end - start), dtype=torch.float64)
        for f, (start, end) in flow.clock.bounds.items()
    }


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
