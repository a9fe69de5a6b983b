"""Small flows with known solutions, in float64: R^n, SO(3), T^m, and a ragged product of the three."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from ld3 import VE, Clock, EuclideanFlow, Levels, ProbabilityFlow, Schedule, Tangent
from ld3.fingerprint import fingerprint
from ld3.geometry import so3, torus

F64 = torch.float64


class GaussianFlow(EuclideanFlow):
    """Data N(mean, std²) per coordinate."""

    def __init__(self, schedule: Schedule, score_scale: float = 1.0) -> None:
        super().__init__(schedule, (3,), score_scale, dtype=F64)
        self.mean = torch.tensor([1.0, -2.0, 0.5], dtype=F64)
        self.std = torch.tensor([0.3, 1.0, 2.0], dtype=F64)

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return sigma * (x_t - alpha * self.mean) / (alpha**2 * self.std**2 + sigma**2)

    def solution(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """x - mean grows as (std² + σ̂²)^(c/2)."""
        variance = [self.std**2 + self.clock.sigma({"x": lam})["x"] ** 2 for lam in (start, end)]
        return self.mean + (x - self.mean) * (variance[1] / variance[0]) ** (self.clock.score_scale / 2)


class MixtureFlow(EuclideanFlow):
    """Data Σ_k w_k N(mean_k, std_k²) in the plane."""

    def __init__(self, schedule: Schedule, mean: Tensor, std: Tensor, weight: Tensor) -> None:
        super().__init__(schedule, (2,), dtype=F64)
        self.mean, self.std, self.weight = mean, std, weight

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        variance = alpha**2 * self.std**2 + sigma**2
        offset = x_t[:, None] - alpha * self.mean
        logits = self.weight.log() - variance.log() - offset.square().sum(-1) / (2 * variance)
        return sigma * ((torch.softmax(logits, 1) / variance)[..., None] * offset).sum(1)


class RotationFlow(ProbabilityFlow[Tensor]):
    """dR = [A log(R₀ Rᵀ)]ₓ R dλ / (1 + e^{2λ}/4), A symmetric: the axis of the motion keeps turning."""

    prior_scale: Mapping[str, float] = {"rotation": 1.5}

    def __init__(self) -> None:
        self.clock = Clock({"rotation": VE(0.1, 1.5)})
        self.goal = so3.exp(torch.tensor([0.3, -0.2, 0.4], dtype=F64))
        self.matrix = torch.tensor([[0.9, 0.3, 0.0], [0.3, 0.6, -0.2], [0.0, -0.2, 0.8]], dtype=F64)

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        return so3.exp(0.7 * torch.randn(n, 3, generator=generator, dtype=F64))

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        return {"rotation": so3.log(self.goal @ x.mT) @ self.matrix / (1 + torch.exp(2 * levels["rotation"]) / 4)}

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        return so3.exp(v["rotation"]) @ x

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"rotation": torch.zeros(len(x), 3, dtype=F64)}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return (x - target).square().sum((-1, -2))

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {"rotation": v["rotation"].norm(dim=-1)}

    def fingerprint(self) -> str:
        return fingerprint(self.goal, self.matrix, self.clock)

    def solution(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Runge-Kutta of order 8 on the nine matrix entries."""

        def velocity(lam: float, flat: np.ndarray) -> np.ndarray:
            rotation = torch.from_numpy(flat.reshape(-1, 3, 3))
            v = self.displacement(rotation, {"rotation": torch.tensor(lam, dtype=F64)})["rotation"]
            return torch.linalg.cross(v[:, None].expand_as(rotation), rotation.mT).mT.numpy().ravel()

        span = (start.item(), end.item())
        run = solve_ivp(velocity, span, x.numpy().ravel(), method="DOP853", rtol=1e-12, atol=1e-13)
        return torch.from_numpy(run.y[:, -1].reshape(-1, 3, 3))


class AngleFlow(ProbabilityFlow[Tensor]):
    """dθ = sin(μ - θ) dλ / (1 + s² e^{2λ}) on two circles."""

    prior_scale: Mapping[str, float] = {"angles": 2.0}

    def __init__(self) -> None:
        self.clock = Clock({"angles": VE(0.05, 2.0)})
        self.goal = torch.tensor([3.0, -1.0], dtype=F64)
        self.std = 0.4

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        return torus.wrap(2 * torch.randn(n, 2, generator=generator, dtype=F64))

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        return {"angles": torch.sin(self.goal - x) / (1 + self.std**2 * torch.exp(2 * levels["angles"]))}

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        return torus.wrap(x + v["angles"])

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"angles": torch.zeros_like(x)}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return torus.wrap(x - target).square().sum(-1)

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {"angles": v["angles"].norm(dim=-1)}

    def fingerprint(self) -> str:
        return fingerprint(self.goal, self.std, self.clock)

    def solution(self, x: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """tan((θ - μ)/2) shrinks as (s² + σ̂²)^(1/2)."""
        ratio = (self.std**2 + torch.exp(-2 * end)) / (self.std**2 + torch.exp(-2 * start))
        return torus.wrap(self.goal + 2 * torch.atan(torch.tan((x - self.goal) / 2) * ratio.sqrt()))


class Pose(NamedTuple):
    """Samples with different numbers of angles, padded to M."""

    position: Tensor  # (B, 3)
    rotation: Tensor  # (B, 3, 3)
    angles: Tensor  # (B, M)
    mask: Tensor  # (B, M), true where there is an angle


class PoseFlow(ProbabilityFlow[Pose]):
    """R^3 x SO(3) x T^m, every factor driven by all three."""

    prior_scale: Mapping[str, float] = {"position": 5.0, "rotation": 1.5, "angles": 3.0}

    def __init__(self, max_angles: int = 4) -> None:
        self.max_angles = max_angles
        self.clock = Clock({"position": VE(0.1, 5.0), "rotation": VE(0.05, 1.5), "angles": VE(0.05, 3.0)})

    def prior(self, n: int, generator: torch.Generator) -> Pose:
        counts = torch.randint(0, self.max_angles + 1, (n, 1), generator=generator)
        mask = torch.arange(self.max_angles) < counts
        angles = torus.wrap(3 * torch.randn(n, self.max_angles, generator=generator, dtype=F64))
        return Pose(
            5 * torch.randn(n, 3, generator=generator, dtype=F64),
            so3.exp(torch.randn(n, 3, generator=generator, dtype=F64)),
            torch.where(mask, angles, 0.0),
            mask,
        )

    def displacement(self, x: Pose, levels: Levels) -> Tangent:
        shrink = {name: 1 / (1 + 0.1 * torch.exp(2 * lam)) for name, lam in levels.items()}
        bend = torch.where(x.mask, torch.sin(x.angles), 0.0).sum(1, keepdim=True)
        turn = so3.log(x.rotation.mT)
        position = torch.tanh(bend) - x.position + 0.5 * turn
        return {
            "position": shrink["position"] * position,
            "rotation": shrink["rotation"] * (turn + 0.1 * torch.cos(x.position)),
            "angles": shrink["angles"] * torch.where(x.mask, torch.sin(bend + position[:, :1] - x.angles), 0.0),
        }

    def retract(self, x: Pose, v: Tangent) -> Pose:
        return Pose(
            x.position + v["position"],
            so3.exp(v["rotation"]) @ x.rotation,
            torus.wrap(x.angles + v["angles"]),
            x.mask,
        )

    def zero_tangent(self, x: Pose) -> Tangent:
        spatial = torch.zeros_like(x.position)
        return {"position": spatial, "rotation": spatial, "angles": torch.zeros_like(x.angles)}

    def data_mean(self, x: Pose) -> Mapping[str, Tensor]:
        return {"position": x.position.mean(0)}

    def to_mean(self, x: Pose, mean: Mapping[str, Tensor]) -> Tangent:
        return {**self.zero_tangent(x), "position": mean["position"] - x.position}

    def distance(self, x: Pose, target: Pose) -> Tensor:
        return (
            (x.position - target.position).square().sum(1)
            + (x.rotation - target.rotation).square().sum((1, 2))
            + (2 - 2 * torch.cos(x.angles - target.angles)).sum(1)
        )

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {name: value.norm(dim=-1) for name, value in v.items()}

    def fingerprint(self) -> str:
        return fingerprint(self.clock, self.max_angles)
