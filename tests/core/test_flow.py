from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from flows import F64, AngleFlow, GaussianFlow, Pose, PoseFlow, RotationFlow
from torch import Tensor, nn

from ld3 import (
    EDM,
    EuclideanFlow,
    Levels,
    ProbabilityFlow,
    RectifiedFlow,
    Schedule,
    Tangent,
    VPCosine,
    VPLinear,
    noise_from_clean,
    noise_from_v,
    noise_from_velocity,
)
from ld3.fingerprint import fingerprint
from ld3.testing import FlowCheckError, check_flow

SCHEDULES = [VPLinear(), VPCosine(), EDM(), RectifiedFlow()]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_displacement_points_at_the_posterior_mean(schedule: Schedule) -> None:
    """E[x_0 | x̂] of a Gaussian, whatever the α of the path."""
    flow = GaussianFlow(schedule)
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    lam = flow.clock.levels(torch.tensor(0.3, dtype=F64))
    variance = torch.exp(-2 * lam["x"])
    mean = (flow.std**2 * x + variance * flow.mean) / (flow.std**2 + variance)
    torch.testing.assert_close(x + flow.displacement(x, lam)["x"], mean)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_prior_has_the_noise_of_the_first_level(schedule: Schedule) -> None:
    flow = GaussianFlow(schedule, score_scale=2.0)
    t_max = torch.tensor(schedule.t_max, dtype=F64)
    scale = (schedule.sigma(t_max) / schedule.alpha(t_max)).item()
    assert flow.prior_scale["x"] == pytest.approx(scale)
    assert flow.prior(20000, torch.Generator().manual_seed(0)).std().item() == pytest.approx(scale, rel=0.01)


def test_distance_and_norm_of_arrays() -> None:
    flow = GaussianFlow(RectifiedFlow(t_min=0.5, t_max=0.9))
    x, y = torch.tensor([[1.0, 2.0, 2.0]], dtype=F64), torch.zeros(1, 3, dtype=F64)
    assert flow.decode(x).tolist() == [[0.5, 1.0, 1.0]]
    assert flow.distance(x, y).tolist() == [0.75]
    assert flow.norm({"x": x})["x"].tolist() == [3.0]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)
def test_predictions_of_every_kind_give_the_noise(schedule: Schedule) -> None:
    generator = torch.Generator().manual_seed(0)
    x_0, z = (torch.randn(4, 3, generator=generator, dtype=F64) for _ in range(2))
    t = torch.tensor(0.4, dtype=F64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    x_t = alpha * x_0 + sigma * z
    torch.testing.assert_close(noise_from_clean(x_t, x_0, alpha, sigma), z)
    torch.testing.assert_close(noise_from_velocity(x_t, z - x_0, alpha, sigma), z)
    torch.testing.assert_close(noise_from_v(x_t, alpha * z - sigma * x_0, alpha, sigma), z)


def test_fingerprint_follows_what_changes_the_flow() -> None:
    class NetworkFlow(EuclideanFlow):
        def __init__(self, network: nn.Module, score_scale: float = 1.0) -> None:
            super().__init__(EDM(), (2,), score_scale)
            self.network = network

        def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
            return self.network(x_t)

    network = nn.Linear(2, 2)
    flow = NetworkFlow(network)
    before = flow.fingerprint()
    assert NetworkFlow(network).fingerprint() == before
    assert NetworkFlow(network, score_scale=2.0).fingerprint() != before
    with torch.no_grad():
        network.weight[0, 0] += 1e-6
    assert flow.fingerprint() != before


class Attention(nn.Module):
    """Holds a function and a number that no weight shows."""

    def __init__(self, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, heads)
        self.activation = activation


def test_fingerprint_sees_what_modules_do_with_equal_weights() -> None:
    def same_weights(module: nn.Module) -> nn.Module:
        with torch.no_grad():
            for p in module.parameters():
                p.fill_(0.5)
        return module

    modules = [
        nn.Sequential(nn.Linear(2, 2), nn.ReLU()),
        nn.Sequential(nn.Linear(2, 2), nn.GELU()),
        nn.Sequential(nn.Linear(2, 2), nn.GELU("tanh")),
        Attention(2, nn.functional.relu),
        Attention(4, nn.functional.relu),
        Attention(4, nn.functional.gelu),
    ]
    prints = [fingerprint(same_weights(module)) for module in modules]
    assert len(set(prints)) == len(modules)
    assert prints == [fingerprint(same_weights(copy.deepcopy(module))) for module in modules]


def test_fingerprint_distinguishes_and_refuses() -> None:
    parts: list[object] = [
        torch.zeros(2),
        torch.zeros(1, 2),
        torch.zeros(2, dtype=F64),
        "a",
        b"a",
        ("a",),
        ["a", "b"],
        "ab",
        {"a": 1},
        {"a": 1.0},
        None,
        EDM(),
    ]
    assert len({fingerprint(part) for part in parts}) == len(parts)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="cannot fingerprint a function"):
        fingerprint(lambda: None)


FLOWS: list[Callable[[], ProbabilityFlow[Tensor] | ProbabilityFlow[Pose]]] = [
    lambda: GaussianFlow(VPLinear()),
    lambda: GaussianFlow(EDM(), score_scale=2.0),
    RotationFlow,
    AngleFlow,
    PoseFlow,
]


@pytest.mark.parametrize("make", FLOWS)
def test_right_flows_pass_the_check(make: Callable[[], ProbabilityFlow[Tensor]]) -> None:
    flow = make()
    report = check_flow(flow, torch.Generator().manual_seed(0), trained=isinstance(flow, GaussianFlow))
    gradients = [law for law in report.laws if law.startswith("gradient")]
    assert len(gradients) == 2 * len(flow.clock.schedules)
    assert all(law in str(report) for law in report.laws)


class Detached(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        return super().displacement(x, {**levels, "angles": levels["angles"].detach()})


class Leaky(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        d = super().displacement(x, levels)
        return {**d, "position": d["position"] + x.position.mean(0)}


class Random(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        d = super().displacement(x, levels)
        return {**d, "rotation": d["rotation"] + 0.01 * torch.randn_like(d["rotation"])}


class Drifting(PoseFlow):
    def retract(self, x: Pose, v: Tangent) -> Pose:
        moved = super().retract(x, v)
        return moved._replace(position=moved.position + 0.01)


class Forgetful(PoseFlow):
    calls = 0

    def prior(self, n: int, generator: torch.Generator) -> Pose:
        self.calls += 1
        return super().prior(n, torch.Generator().manual_seed(self.calls))


class Single(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        return {name: v.float() for name, v in super().displacement(x, levels).items()}


class Partial(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        d = super().displacement(x, levels)
        return {"position": d["position"], "rotation": d["rotation"]}


class Undefined(PoseFlow):
    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        return {name: v * math.nan for name, v in super().displacement(x, levels).items()}


class Moving(PoseFlow):
    def zero_tangent(self, x: Pose) -> Tangent:
        return {name: v + 1 for name, v in super().zero_tangent(x).items()}


class Narrow(PoseFlow):
    prior_scale: Mapping[str, float] = {"position": 5.0, "rotation": 1e-6, "angles": 3.0}


class Wide(PoseFlow):
    prior_scale: Mapping[str, float] = {"position": 6.0, "rotation": 1.5, "angles": 3.0}


class Summed(PoseFlow):
    def distance(self, x: Pose, target: Pose) -> Tensor:
        return super().distance(x, target).sum()


class Frozen(GaussianFlow):
    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        with torch.no_grad():
            return super().noise(x_t, t)


class Column(GaussianFlow):
    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return super().noise(x_t, t)[:, :1]


class Elsewhere(GaussianFlow):
    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        return torch.empty_like(super().noise(x_t, t), device="meta")


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        (Frozen, r"displacement is differentiable: no gradient .* torch\.no_grad"),
        (Column, r"displacement has the shape of a tangent: 'x' has \(4, 1\), not \(4, 3\)"),
        (Elsewhere, "displacement keeps type and device: 'x' is torch.float64 on meta, the state torch.float64 on cpu"),
        (Detached, r"gradient with respect to network\['angles'\]"),
        (Leaky, "displacement ignores the rest of the batch"),
        (Random, "displacement is deterministic"),
        (Drifting, r"retract\(x, 0\) is x"),
        (Forgetful, "prior repeats with its generator"),
        (Single, "displacement keeps type and device"),
        (Partial, "displacement has the clock's factors"),
        (Undefined, "displacement is finite"),
        (Moving, "zero_tangent is zero"),
        (Summed, r"distance has shape \(B,\)"),
        (Narrow, "prior_scale is the prior's standard deviation: 'rotation' has 1e-06"),
        (Wide, r"prior_scale\['position'\] is the prior's standard deviation: deviation 0.1"),
    ],
)
def test_the_check_names_the_broken_law(broken: type[PoseFlow] | type[GaussianFlow], law: str) -> None:
    flow: Any = broken(VPLinear()) if issubclass(broken, GaussianFlow) else broken()
    with pytest.raises(FlowCheckError, match=f"^{law}"):
        check_flow(flow, torch.Generator().manual_seed(0), trained=False)
