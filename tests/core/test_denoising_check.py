"""Seven mistakes in a flow, each on R^n, a torus and rotations where it can be made, are found and named."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from flows import F64
from torch import Tensor

from ld3 import EDM, VE, Clock, EuclideanFlow, Levels, ProbabilityFlow, RectifiedFlow, Schedule, Tangent, VPLinear
from ld3.denoising_check import check_denoising
from ld3.fingerprint import fingerprint
from ld3.geometry import so3, torus
from ld3.testing import FlowCheckError, check_flow

CENTRES = torch.tensor([[2.0, 0.0], [-1.0, 1.5], [-1.0, -1.5]], dtype=F64)


class Mixture(EuclideanFlow):
    """Three Gaussians of width 0.3 in the plane, and an answer that may be spoilt."""

    def __init__(self, schedule: Schedule, spoil: str = "") -> None:
        super().__init__(schedule, (2,), dtype=F64)
        self.spoil = spoil

    def right(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        gap, variance = x_t[:, None] - alpha * CENTRES, (0.3 * alpha) ** 2 + sigma**2
        share = torch.softmax(-gap.square().sum(-1) / (2 * variance), dim=1)
        return sigma / variance * (share[..., None] * gap).sum(1)

    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        if self.spoil == "time":
            middle = 0.5 * self.schedule.t_max
            return self.right(x_t, torch.tensor(middle, dtype=F64)) + 0 * t
        noise = self.right(x_t, t)
        if self.spoil == "sign":
            return -noise
        if self.spoil == "score":
            return -noise / sigma
        if self.spoil == "clean":
            return (x_t - sigma * noise) / alpha
        if self.spoil == "velocity":
            clean = (x_t - sigma * noise) / alpha
            return (x_t - alpha * (noise - clean)) / (alpha + sigma)
        return noise


class Manifold(ProbabilityFlow[Tensor]):
    """One factor "a" of exact denoisers, and an answer that may be spoilt."""

    def __init__(self, spoil: str) -> None:
        self.spoil = spoil

    def right(self, x: Tensor, sigma: Tensor) -> Tensor:
        raise NotImplementedError

    def displacement(self, x: Tensor, levels: Levels) -> Tangent:
        lam = levels["a"]
        sigma = torch.exp(-lam)
        if self.spoil == "time":
            return {"a": self.right(x, torch.full_like(sigma, 0.3)) + 0 * lam}
        d = self.right(x, sigma)
        if self.spoil == "sign":
            d = -d
        if self.spoil == "score":
            d = d / sigma**2
        if self.spoil == "noise":
            d = -d / sigma
        if self.spoil == "body":
            d = (x.mT @ d[..., None])[..., 0]
        return {"a": d}

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {"a": v["a"].norm(dim=-1)}

    def fingerprint(self) -> str:
        return fingerprint(type(self).__name__, self.spoil, self.clock)


class Circles(Manifold):
    """Two circles with two wrapped normals of width 0.2 on each."""

    prior_scale: Mapping[str, float] = {"a": 1.8}

    def __init__(self, spoil: str = "") -> None:
        super().__init__(spoil)
        self.clock = Clock({"a": VE(0.05, 3.0)})
        self.goal = torch.tensor([1.0, -2.0], dtype=F64)

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        return 2 * torch.pi * torch.rand(n, 2, generator=generator, dtype=F64) - torch.pi

    def right(self, x: Tensor, sigma: Tensor) -> Tensor:
        width = (sigma**2 + 0.2**2).sqrt()
        k = torch.arange(-6, 7, dtype=F64)
        gaps = (
            torch.stack([torus.wrap(x - self.goal), torus.wrap(x - self.goal - 2.0)], -1)[..., None] + 2 * torch.pi * k
        )
        weight = torch.softmax((-gaps.square() / (2 * width**2)).flatten(-2), -1)
        return -((sigma / width) ** 2) * (weight * gaps.flatten(-2)).sum(-1)

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        return torus.wrap(x + v["a"])

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"a": torch.zeros_like(x)}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return (2 - 2 * torch.cos(x - target)).sum(-1)


class Rotations(Manifold):
    """IGSO(3) of width 0.3 around a rotation."""

    prior_scale: Mapping[str, float] = {"a": 1.33}

    def __init__(self, spoil: str = "") -> None:
        super().__init__(spoil)
        self.clock = Clock({"a": VE(0.05, 1.5)})
        self.goal = so3.exp(torch.tensor([1.2, -0.7, 0.4], dtype=F64))

    def prior(self, n: int, generator: torch.Generator) -> Tensor:
        return so3.exp(so3.uniform(n, generator, F64))

    def right(self, x: Tensor, sigma: Tensor) -> Tensor:
        return sigma**2 * so3.score(so3.log(x @ self.goal.mT), (sigma**2 + 0.3**2).sqrt())

    def retract(self, x: Tensor, v: Tangent) -> Tensor:
        return so3.exp(v["a"]) @ x

    def zero_tangent(self, x: Tensor) -> Tangent:
        return {"a": torch.zeros(len(x), 3, dtype=x.dtype)}

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        return (x - target).square().sum((-1, -2))


Make = Callable[[str], ProbabilityFlow[Tensor]]
SPACES: dict[str, Make] = {
    "VP": lambda spoil: Mixture(VPLinear(), spoil),
    "EDM": lambda spoil: Mixture(EDM(), spoil),
    "straight": lambda spoil: Mixture(RectifiedFlow(), spoil),
    "torus": Circles,
    "rotations": Rotations,
}
WORDS = {
    "sign": "wrong sign",
    "score": "looks like a score",
    "noise": "looks like predicted noise",
    "clean": "clean prediction returned as noise",
    "velocity": "velocity of the opposite sign",
    "time": "ignores the time",
    "body": "body's frame",
}
ARRAYS, MANIFOLDS = ("VP", "EDM", "straight"), ("torus", "rotations")
MISTAKES = [
    *((space, spoil) for space in ARRAYS for spoil in ("sign", "score", "clean", "time")),
    ("straight", "velocity"),
    ("VP", "velocity"),
    *((space, spoil) for space in MANIFOLDS for spoil in ("sign", "score", "noise", "time")),
    ("rotations", "body"),
]


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_denoisers_obey_the_law(space: str, seed: int) -> None:
    found = check_denoising(SPACES[space](""), torch.Generator().manual_seed(seed))
    assert found.cause is None, found
    assert max(found.worst.values()) < 0.35, found


@pytest.mark.parametrize(("space", "spoil"), MISTAKES)
def test_every_mistake_is_found_and_named(space: str, spoil: str) -> None:
    with pytest.raises(FlowCheckError, match=f"denoises.*{WORDS[spoil]}"):
        check_flow(SPACES[space](spoil), torch.Generator().manual_seed(0))


def test_data_that_the_user_gives_take_the_place_of_samples() -> None:
    generator = torch.Generator().manual_seed(3)
    data = CENTRES[torch.randint(3, (256,), generator=generator)]
    data = data + 0.3 * torch.randn(256, 2, generator=generator, dtype=F64)
    flow = Mixture(VPLinear())
    assert check_denoising(flow, generator, data).cause is None
    other = check_denoising(flow, generator, data + 3.0)
    assert other.cause is not None
    assert "none of the usual mistakes" in other.cause
