"""Is my flow right? `check_flow` tries the laws that solvers and the fit rely on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ld3.denoising_check import ALLOWED, check_denoising
from ld3.flow import ProbabilityFlow
from ld3.grids.grid import Grid
from ld3.solvers import get_solver, integrate
from ld3.state import Levels, State, Tangent, cat, rebuild, size, take, tensors

_NUMBERS = 4096  # of the prior, from which its standard deviation is estimated to about one percent
_SAMPLED = 0.1


class FlowCheckError(AssertionError):
    """A flow breaks a law; the message names the law and by how much it is broken."""


@final
@dataclass(frozen=True)
class FlowReport:
    """Law -> (deviation found, deviation allowed), both relative."""

    laws: Mapping[str, tuple[float, float]]

    def __str__(self) -> str:
        width = max(map(len, self.laws))
        return "\n".join(
            f"{law.ljust(width)}  {found:.1e} (< {allowed:.0e})" for law, (found, allowed) in self.laws.items()
        )


def check_flow(
    flow: ProbabilityFlow[State],
    generator: torch.Generator,
    *,
    n: int = 4,
    n_steps: int = 4,
    trained: bool = True,
    data: State | None = None,
    samples: int | None = None,
) -> FlowReport:
    """Try the laws of `ProbabilityFlow` on `n` samples of its prior and grids of `n_steps` steps.

    The laws: the prior can be repeated; `prior_scale` is of the size of the first level's noise, and the standard
    deviation of samples where these can be measured (in fields to which tangents are added); displacements keep batch,
    type and device and fit `norm`; they are deterministic and independent of the rest of the batch; `retract(x, 0)` is
    x; the distance from x to x is 0; the fingerprint is stable; the gradient of a distance with respect to the grid
    (solver and network levels of each factor) is that of central differences; and the displacement denoises
    (:mod:`ld3.denoising_check`): of samples that are noised, it points the way back. The tolerances follow from the
    floating type of the state: float64 finds more.

    Args:
        trained: whether the answers are meant to denoise; False leaves that law out, for a network before its training.
        data: clean samples for that law, in the flow's state at its last level; None = what the flow itself makes, at
            some fifty evaluations a sample.
        samples: so many of these; None = as many as give a few thousand numbers, up to a thousand.

    Returns:
        What was tried, and how well it held.

    Raises:
        FlowCheckError: naming the first law that is broken.
    """
    seed = generator.get_state()
    x = flow.prior(n, generator)
    dtype = next(value.dtype for value in tensors(x).values() if value.is_floating_point())
    rounding = torch.finfo(dtype).eps ** (1 / 2)
    differences = 10 * torch.finfo(dtype).eps ** (1 / 3)
    laws: dict[str, tuple[float, float]] = {}

    def law(name: str, found: float, allowed: float = rounding) -> None:
        if not found <= allowed:
            raise FlowCheckError(f"{name}: deviation {found:.3g}, allowed {allowed:.3g}")
        laws[name] = (found, allowed)

    _require("prior(n) holds n samples", size(x) == n, f"asked for {n}, got {size(x)}")
    repeated = flow.prior(n, generator.set_state(seed))
    law("prior repeats with its generator", _gap(tensors(x), tensors(repeated)))
    _check_prior_scale(flow)
    for factor, deviation in _prior_deviations(flow, x, generator).items():
        law(f"prior_scale[{factor!r}] is the prior's standard deviation", deviation, _SAMPLED)
    _require("fingerprint is stable", flow.fingerprint() == flow.fingerprint(), "two calls differ")

    levels = {name: torch.tensor((a + b) / 2, dtype=torch.float64) for name, (a, b) in flow.clock.bounds.items()}
    with torch.no_grad():
        d = flow.displacement(x, levels)
        _check_tangent(flow, x, d, dtype, "displacement")
        law("displacement is deterministic", _gap(d, flow.displacement(x, levels)))
        shapes = {f: (tuple(v.shape), tuple(d[f].shape)) for f, v in flow.zero_tangent(x).items()}
        for factor, (own, given) in shapes.items():
            _require("displacement has the shape of a tangent", own == given, f"{factor!r} has {given}, not {own}")
        alone = [flow.displacement(take(x, [i]), levels) for i in range(n)]
        law("displacement ignores the rest of the batch", _gap(d, {f: torch.cat([a[f] for a in alone]) for f in d}))
        law("take and cat keep the samples", _gap(tensors(x), tensors(cat([take(x, [i]) for i in range(n)]))))
        zero = flow.zero_tangent(x)
        _check_tangent(flow, x, zero, dtype, "zero_tangent")
        law("zero_tangent is zero", _gap(zero, {name: torch.zeros_like(v) for name, v in d.items()}))
        stay = flow.retract(x, zero)
        _check_state(x, flow.retract(x, d))
        law("retract(x, 0) is x", _gap(tensors(x), tensors(stay)))
        distance = flow.distance(x, x)
        _require("distance has shape (B,)", distance.shape == (n,), f"got {tuple(distance.shape)}")
        law("distance(x, x) is 0", distance.abs().max().item())

    _check_connected(flow, x, levels)
    for name, deviation in _grid_gradients(flow, x, n_steps, torch.finfo(dtype).eps ** (1 / 3)).items():
        law(f"gradient with respect to {name}", deviation, differences)
    if trained:
        denoising = check_denoising(flow, generator, data, samples)
        for factor, deviation in denoising.worst.items():
            if denoising.cause is not None and deviation == max(denoising.worst.values()):
                found = ", ".join(f"{r:.2g}" for r in denoising.quotients[factor])
                raise FlowCheckError(
                    f"displacement denoises: {denoising.cause}. The displacement {factor!r} times the way back from "
                    f"noise, over its own square, is {found} on average, from large to small noise, and should be 1"
                )
            laws[f"displacement[{factor!r}] denoises"] = (deviation, ALLOWED)
    return FlowReport(laws)


def _check_prior_scale(flow: ProbabilityFlow[State]) -> None:
    """By order of magnitude: where space is compact the noise of the first level may wrap around, and be more."""
    factors, given = flow.clock.schedules.keys(), flow.prior_scale
    _require("prior_scale has the clock's factors", given.keys() == factors, f"got {sorted(given)}")
    for factor, (start, _) in flow.clock.bounds.items():
        noise = math.exp(-start)
        _require(
            "prior_scale is the prior's standard deviation",
            noise / 10 < given[factor] < 2 * noise,
            f"{factor!r} has {given[factor]:.3g}, and a noise level of {noise:.3g} at the prior",
        )


def _prior_deviations(flow: ProbabilityFlow[State], x: State, generator: torch.Generator) -> Mapping[str, float]:
    """How far, relatively, `prior_scale` is from what samples show, in factors that are fields of the state to which
    tangents are added however long they are.
    """
    zero, fields = flow.zero_tangent(x), tensors(x)
    found = {}
    for factor, scale in flow.prior_scale.items():
        field = "x" if isinstance(x, Tensor) and len(zero) == 1 else factor
        if field not in fields or fields[field].shape != zero[factor].shape or not zero[factor].numel():
            continue
        far = torch.full_like(zero[factor], 10 * scale)
        moved = tensors(flow.retract(x, {**zero, factor: far}))[field]
        if torch.allclose(moved - fields[field], far, rtol=1e-2):
            more = flow.prior(-(-_NUMBERS * len(far) // far.numel()) + 1, generator)
            found[factor] = abs(tensors(more)[field].double().std(0).square().mean().sqrt().item() / scale - 1)
    return found


def _check_tangent(flow: ProbabilityFlow[State], x: State, v: Tangent, dtype: torch.dtype, name: str) -> None:
    device = next(iter(tensors(x).values())).device
    factors = flow.clock.schedules.keys()
    _require(f"{name} has the clock's factors", v.keys() == factors, f"got {sorted(v)}")
    norms = flow.norm(v)
    for factor, part in v.items():
        _require(f"{name} leads with the batch", len(part) == size(x), f"{factor!r} has shape {tuple(part.shape)}")
        _require(
            f"{name} keeps type and device",
            (part.dtype, part.device) == (dtype, device),
            f"{factor!r} is {part.dtype} on {part.device}, the state {dtype} on {device}",
        )
        _require(f"{name} is finite", bool(part.isfinite().all()), f"{factor!r} is not")
        _require("norm has shape (B,)", norms[factor].shape == (size(x),), f"{factor!r}: {tuple(norms[factor].shape)}")


def _check_connected(flow: ProbabilityFlow[State], x: State, levels: Levels) -> None:
    """A gradient has to come through the network: gradients of a grid pass through every state on the way."""
    fields = {name: v.detach().clone() for name, v in tensors(x).items()}
    moving = [v.requires_grad_() for v in fields.values() if v.is_floating_point()]
    with torch.enable_grad():
        total = torch.stack([v.sum() for v in flow.displacement(rebuild(x, fields), levels).values()]).sum()
        found = torch.autograd.grad(total, moving, allow_unused=True) if total.requires_grad else (None,)
    _require(
        "displacement is differentiable",
        any(g is not None for g in found),
        "no gradient with respect to the state comes through; is the network under torch.no_grad or inference_mode, or "
        "its answer detached?",
    )


def _check_state(x: State, moved: State) -> None:
    for (name, before), after in zip(tensors(x).items(), tensors(moved).values(), strict=True):
        kept = (before.shape, before.dtype, before.device) == (after.shape, after.dtype, after.device)
        _require("retract keeps shape, type and device", kept, f"{name!r}: {tuple(after.shape)}, {after.dtype}")


def _grid_gradients(flow: ProbabilityFlow[State], x: State, n_steps: int, step: float) -> Mapping[str, float]:
    """Relative deviation, per part and factor, of the derivative along an alternating shift of the levels."""
    levels = {name: _inner_levels(*bounds, n_steps) for name, bounds in flow.clock.bounds.items()}
    c = flow.clock.score_scale
    grid = Grid.coupled(levels, score_scale=c)
    with torch.no_grad():
        end = integrate(flow, x, grid, get_solver("ddim"))
        first = flow.displacement(x, {name: levels[0] for name, levels in grid.network.items()})
        target = flow.retract(end, {name: v / 10 for name, v in first.items()})  # near, but not where any grid ends

    def loss(parts: Mapping[str, Levels]) -> Tensor:
        end = integrate(flow, x, Grid(parts["solver"], parts["network"], score_scale=c), get_solver("ddim"))
        return flow.distance(end, target).double().mean()

    deviations = {}
    for part in ("solver", "network"):
        for name in grid.solver:
            parts = {"solver": dict(grid.solver), "network": dict(grid.network)}
            lam = parts[part][name]
            direction = 1 - 2 * (torch.arange(len(lam)) % 2).double()
            shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
            parts[part][name] = lam + shift * direction
            value = loss(parts)
            exact = torch.autograd.grad(value, shift, allow_unused=True)[0] if value.requires_grad else None
            autograd = 0.0 if exact is None else exact.item()
            with torch.no_grad():
                ends = [loss({**parts, part: {**parts[part], name: lam + h * direction}}) for h in (step, -step)]
            central = (ends[0] - ends[1]).item() / (2 * step)
            # Rounding leaves nothing to compare where the derivative is far below the loss itself.
            scale = max(abs(autograd), abs(central), step * abs(value.item()), torch.finfo(torch.float64).tiny)
            deviations[f"{part}[{name!r}]"] = abs(autograd - central) / scale
    return deviations


def _inner_levels(start: float, end: float, n_steps: int) -> Tensor:
    """Equal steps in λ that keep clear of the bounds, beyond which a network need not be defined."""
    margin = (end - start) / 20
    return torch.linspace(start + margin, end - margin, n_steps + 1, dtype=torch.float64)


def _gap(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Largest difference relative to the largest entry, infinite where shapes differ."""
    gaps = [0.0]
    for name, value in a.items():
        if value.shape != b[name].shape:
            return float("inf")
        if value.numel():
            scale = value.double().abs().max().clamp(min=1)
            gaps.append(((value.double() - b[name].double()).abs().max() / scale).item())
    return max(gaps)


def _require(law: str, holds: bool, detail: str) -> None:
    if not holds:
        raise FlowCheckError(f"{law}: {detail}")
