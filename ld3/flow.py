"""Probability flows: everything a solver needs to know about a diffusion model.

In the chart x̂ = x/α with noise level σ̂ = exp(-λ) the probability-flow ODE of every Gaussian path reads dx̂ = ε dσ̂. A
clock's score scale c multiplies the score in it, which seeks modes (:class:`ld3.clock.Clock`).
Rotations and angles cannot be scaled, so this is the one chart that all factors share; α lives in `EuclideanFlow` only.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Generic

import torch
from torch import Tensor

from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.schedules import Schedule
from ld3.state import Levels, State, Tangent, rebuild, tensors


class ProbabilityFlow(ABC, Generic[State]):
    """A diffusion model as an ODE on states, written in displacements.

    Attributes:
        clock: the noise schedule of each factor.
        prior_scale: factor -> standard deviation of the prior per tangent coordinate.
    """

    clock: Clock
    prior_scale: Mapping[str, float]

    @abstractmethod
    def prior(self, n: int, generator: torch.Generator) -> State:
        """`n` samples of pure noise, on the device of `generator`."""

    @abstractmethod
    def displacement(self, x: State, levels: Levels) -> Tangent:
        """From each point to its clean prediction, x̂₀ ⊖ x = -σ̂ ε̂ = σ̂² ∇log p: one evaluation of the network.

        Args:
            x: B samples.
            levels: factor -> λ of shape (), the level that the network is given. Must be differentiable in both. The
                clock's score scale is not in it: the solver applies that.
        """

    @abstractmethod
    def retract(self, x: State, v: Tangent) -> State:
        """x ⊕ v: each sample moved by its tangent; `retract(x, 0)` is x. Differentiable in both."""

    @abstractmethod
    def zero_tangent(self, x: State) -> Tangent:
        """The tangent of each sample that moves nothing."""

    @abstractmethod
    def distance(self, x: State, target: State) -> Tensor:
        """The training distance of each sample from its target (decoded first where that matters), shape (B,)."""

    def residual(self, x: State, target: State) -> Tensor:
        """Differences whose squares add up to :meth:`distance`, shape (B, m), for Gauss-Newton steps.

        Raises:
            ValueError: if the flow does not say.
        """
        raise ValueError(f"{type(self).__name__} has no residual, which optimiser 'gauss-newton' needs; use 'bfgs'")

    @abstractmethod
    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        """Factor -> Euclidean length of each sample's tangent, shape (B,)."""

    def data_mean(self, x: State) -> Mapping[str, Tensor]:
        """What :meth:`to_mean` has to know of the data, from samples x of it (the ends of a teacher).

        Raises:
            ValueError: if the flow does not say.
        """
        raise ValueError(f"{type(self).__name__} has no data_mean, which an analytical first step needs")

    def to_mean(self, x: State, mean: Mapping[str, Tensor]) -> Tangent:
        """What `displacement` tends to as the noise grows, known without the network: on R^n from each point to the
        mean of the data; zero in factors whose prior is uniform (rotations, angles).

        Raises:
            ValueError: if the flow does not say.
        """
        raise ValueError(f"{type(self).__name__} has no to_mean, which an analytical first step needs")

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash of all that changes the flow (weights, conditions, clock): the key of cached teacher runs."""


class ArrayFlow(ProbabilityFlow[State]):
    """A flow on arrays x̂ = x/α of shape (B, *shape), one factor called "x": alone, or the field "x" of a state that
    also says what each sample is to be.

    Args:
        schedule: the path x_t = α x_0 + σ z that the network was trained on.
        shape: shape of one sample.
        score_scale: c of `Clock`.
        dtype: floating type of the prior.
        clean_end: of `Clock`.
    """

    def __init__(
        self,
        schedule: Schedule,
        shape: tuple[int, ...],
        score_scale: float = 1.0,
        *,
        dtype: torch.dtype = torch.float32,
        clean_end: bool = False,
    ) -> None:
        self.schedule = schedule
        self.shape = tuple(shape)
        self.dtype = dtype
        self.clock = Clock({"x": schedule}, score_scale, clean_end)
        self.prior_scale = {"x": math.exp(-self.clock.bounds["x"][0])}

    @abstractmethod
    def state(self, x: Tensor) -> State:
        """The state of B arrays x̂, as the prior makes them."""

    @abstractmethod
    def predicted_noise(self, state: State, x_t: Tensor, t: Tensor) -> Tensor:
        """ε̂, shape (B, *shape), in x_t = α x̂ of `state` at time `t`, shape (), float64."""

    def prior(self, n: int, generator: torch.Generator) -> State:
        unit = torch.randn(n, *self.shape, generator=generator, device=generator.device, dtype=self.dtype)
        return self.state(self.prior_scale["x"] * unit)

    def displacement(self, x: State, levels: Levels) -> Tangent:
        t = self.clock.time(levels)["x"]
        sigma = self.clock.sigma(levels)["x"]
        return {"x": -sigma * self.predicted_noise(x, self.schedule.alpha(t) * tensors(x)["x"], t)}

    def retract(self, x: State, v: Tangent) -> State:
        fields = tensors(x)
        return rebuild(x, {**fields, "x": fields["x"] + v["x"]})

    def zero_tangent(self, x: State) -> Tangent:
        return {"x": torch.zeros_like(tensors(x)["x"])}

    def distance(self, x: State, target: State) -> Tensor:
        """Mean squared difference of the decoded samples."""
        return (self.decode(x) - self.decode(target)).square().flatten(1).mean(1)

    def residual(self, x: State, target: State) -> Tensor:
        """Differences of the decoded samples over √m, m entries a sample."""
        difference = (self.decode(x) - self.decode(target)).flatten(1)
        return difference / math.sqrt(difference.shape[1])

    def norm(self, v: Tangent) -> Mapping[str, Tensor]:
        return {"x": torch.linalg.vector_norm(v["x"].flatten(1), dim=1)}

    def data_mean(self, x: State) -> Mapping[str, Tensor]:
        """Of the samples, shape (*shape)."""
        return {"x": tensors(x)["x"].mean(0)}

    def to_mean(self, x: State, mean: Mapping[str, Tensor]) -> Tangent:
        at = tensors(x)["x"]
        return {"x": mean["x"].to(at) - at}

    def decode(self, x: State) -> Tensor:
        """Data from the state where a grid ends, shape (B, *shape): x_t = α(t_min) x̂, or x̂ itself without noise."""
        if self.clock.clean_end:
            return tensors(x)["x"]
        return self.schedule.alpha(torch.tensor(self.schedule.t_min, dtype=torch.float64)) * tensors(x)["x"]

    def fingerprint(self) -> str:
        """Hash of the class name and of every attribute; override it where an attribute has no stable content."""
        return fingerprint(type(self).__qualname__, vars(self))


class EuclideanFlow(ArrayFlow[Tensor]):
    """A flow on bare arrays, for which a user writes `noise` and nothing else; `decode` turns a result into data."""

    @abstractmethod
    def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The predicted noise ε̂, shape (B, *shape), in the noisy x_t = α x_0 + σ z at time `t`, shape ()."""

    def state(self, x: Tensor) -> Tensor:
        return x

    def predicted_noise(self, state: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return self.noise(x_t, t.to(x_t))


def noise_from_clean(x_t: Tensor, clean: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """ε̂ for a network that predicts the clean x_0: (x_t - α x_0)/σ."""
    return (x_t - alpha * clean) / sigma


def noise_from_velocity(x_t: Tensor, velocity: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """ε̂ for a network that predicts the flow-matching velocity z - x_0: (x_t + α v)/(α + σ).

    Where a model runs from noise at t = 0 to data at t = 1, its velocity has the opposite sign.
    """
    return (x_t + alpha * velocity) / (alpha + sigma)


def noise_from_v(x_t: Tensor, v: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """ε̂ for a network that predicts v = α z - σ x_0 (Salimans & Ho, arXiv 2202.00512): (σ x_t + α v)/(α² + σ²)."""
    return (sigma * x_t + alpha * v) / (alpha**2 + sigma**2)
