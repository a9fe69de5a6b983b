"""Maps of SO(3) against matrix exponentials, and its samplers against exact distribution functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from ld3.geometry import so3


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def hat(v: Tensor) -> Tensor:
    """Cross-product matrix of v (3,)."""
    return torch.linalg.cross(v.expand(3, 3), torch.eye(3, dtype=v.dtype)).T


def random_vectors(n: int, seed: int) -> Tensor:
    return so3.uniform(n, torch.Generator().manual_seed(seed), torch.float64)


def angle_cdf(omega: Tensor, sigma: float) -> Tensor:
    """F(ω) = (1/π) Σ_l (2l+1) exp(-l(l+1)σ²/2) [sin(lω)/l - sin((l+1)ω)/(l+1)], integrated term by term."""
    degree = torch.arange(1, int(9.0 / sigma) + 3, dtype=torch.float64)
    weight = (2.0 * degree + 1.0) * torch.exp(-degree * (degree + 1.0) * sigma**2 / 2.0)
    w = omega[:, None]
    terms = torch.sin(degree * w) / degree - torch.sin((degree + 1.0) * w) / (degree + 1.0)
    return (omega - omega.sin() + (weight * terms).sum(-1)) / math.pi


def test_exp_is_the_matrix_exponential() -> None:
    vectors = torch.cat([random_vectors(20, 0), 1e-7 * random_vectors(5, 1), 1e-3 * random_vectors(5, 2)])
    expected = torch.matrix_exp(torch.stack([hat(v) for v in vectors]))
    torch.testing.assert_close(so3.exp(vectors), expected, rtol=0.0, atol=2e-15)


def test_log_inverts_exp_up_to_half_a_turn() -> None:
    unit = torch.nn.functional.normalize(random_vectors(6, 3), dim=-1)
    angles = f64(0.0, 1e-9, 1e-3, 1.0, 3.0, math.pi - 1e-6)
    vectors = (angles[:, None, None] * unit).contiguous()
    torch.testing.assert_close(so3.log(so3.exp(vectors)), vectors, rtol=0.0, atol=1e-14)


def test_derivatives_at_identity() -> None:
    zero = torch.zeros(3, dtype=torch.float64)
    basis = torch.eye(3, dtype=torch.float64)
    generators = torch.stack([hat(e) for e in basis], dim=-1)
    torch.testing.assert_close(torch.func.jacrev(so3.exp)(zero), generators, rtol=0.0, atol=1e-15)
    round_trip = torch.func.jacrev(lambda v: so3.log(so3.exp(v)))(zero)
    torch.testing.assert_close(round_trip, basis, rtol=0.0, atol=1e-15)


def test_uniform_is_haar() -> None:
    vectors = random_vectors(20_000, 4)
    angle = vectors.norm(dim=-1).numpy()
    assert stats.kstest(angle, lambda w: (w - np.sin(w)) / math.pi).pvalue > 0.01
    turned = so3.exp(f64(0.3, -2.0, 1.0)) @ so3.exp(vectors)
    # Each entry of a Haar rotation is uniform on [-1, 1], whatever fixed rotation is put before it.
    for i in range(3):
        assert stats.kstest(turned[:, i, (i + 1) % 3].numpy(), stats.uniform(-1.0, 2.0).cdf).pvalue > 0.01


@pytest.mark.parametrize("sigma", [0.005, 0.03, 0.3, 1.0, 1.55, 4.0])
def test_quantiles_invert_the_exact_cdf(sigma: float) -> None:
    probability = torch.linspace(0.0, 1.0, 501, dtype=torch.float64)
    angle = so3._quantile(probability, torch.full_like(probability, sigma))
    torch.testing.assert_close(angle_cdf(angle, sigma), probability, rtol=0.0, atol=4e-5)


@pytest.mark.parametrize("sigma", [0.03, 0.5, 1.2, 3.0])
def test_samples_follow_the_density(sigma: float) -> None:
    v = so3.sample(torch.full((5000,), sigma, dtype=torch.float64), torch.Generator().manual_seed(7))
    angle = v.norm(dim=-1)
    assert stats.kstest(angle.numpy(), lambda w: angle_cdf(torch.from_numpy(w), sigma).numpy()).pvalue > 0.01
    for axis in (v / angle[:, None]).T:
        assert stats.kstest(axis.numpy(), stats.uniform(-1.0, 2.0).cdf).pvalue > 0.01


def test_samples_of_a_mixed_batch_have_their_own_levels() -> None:
    sigma = f64(0.02, 0.4, 1.5).repeat_interleave(4000)
    v = so3.sample(sigma, torch.Generator().manual_seed(8))
    squared = so3.score(v, sigma).square().sum(-1).reshape(3, -1)
    expected = so3.score_norm(f64(0.02, 0.4, 1.5)).square()
    error = squared.std(dim=1) / math.sqrt(4000)
    assert ((squared.mean(dim=1) - expected).abs() < 3.0 * error).all()


def test_errors_name_sigma_and_its_value() -> None:
    with pytest.raises(ValueError, match=r"sigma must lie in \[0.005, 4\] rad, got values in \[0.001, 0.5\]"):
        so3.score_norm(f64(0.001, 0.5))
    with pytest.raises(ValueError, match=r"sigma must lie in .*nan"):
        so3.score(torch.zeros(1, 3), torch.tensor([math.nan]))
    with pytest.raises(ValueError, match=r"sigma must lie in .*got values in \[0, 0\]"):
        so3.sample(torch.zeros(2), torch.Generator())
    with pytest.raises(ValueError, match=r"sigma must have shape \(B,\), got \(2, 2\)"):
        so3.sample(torch.ones(2, 2), torch.Generator())
