"""The wrapped normal, against high-precision image sums, finite differences, and the tables of DiffDock."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from conftest import data
from scipy import stats
from torch import Tensor

from ld3.geometry import torus

REFERENCE = "diffdock_so3_torus.npz"


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def exact_density(x: float, sigma: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """p and ∂p/∂x as sums over 80 images a side."""
    s = mpmath.mpf(sigma)
    z = [mpmath.mpf(x) + 2 * mpmath.pi * k for k in range(-80, 81)]
    weights = [mpmath.exp(-(zk**2) / (2 * s**2)) / (s * mpmath.sqrt(2 * mpmath.pi)) for zk in z]
    return mpmath.fsum(weights), -mpmath.fsum(w * zk for w, zk in zip(weights, z, strict=True)) / s**2


def wrapped_cdf(x: np.ndarray, sigma: float) -> np.ndarray:
    """P(wrapped ≤ x) for x in [-π, π]."""
    shifts = 2.0 * math.pi * np.arange(-40, 41)
    return (stats.norm.cdf(x[:, None] + shifts, scale=sigma) - stats.norm.cdf(-math.pi + shifts, scale=sigma)).sum(-1)


def test_wrap() -> None:
    x = f64(0.0, 3.0, 4.0, -4.0, 7.0, 1e-20, 100.0)
    expected = f64(0.0, 3.0, 4.0 - 2 * math.pi, 2 * math.pi - 4.0, 7.0 - 2 * math.pi, 1e-20, 100.0 - 32.0 * math.pi)
    torch.testing.assert_close(torus.wrap(x), expected, rtol=1e-14, atol=0.0)
    assert torch.autograd.gradcheck(torus.wrap, (x.clone().requires_grad_(),))


@pytest.mark.parametrize("sigma", [0.005, 0.1, 0.3, 0.999, 1.0, 2.0, math.pi, 2.0 * math.pi])
def test_score_against_high_precision_sums(sigma: float) -> None:
    """Includes x = 3.1 at σ = 0.005, 620 standard deviations out."""
    points = (-3.1, -1.0, -0.01, 0.0, 1e-6, 0.5, 2.0, 3.1, 3.14159)
    with mpmath.workdps(60):
        expected = f64(*(float(slope / p) for p, slope in (exact_density(x, sigma) for x in points)))
    got = torus.score(f64(*points), torch.tensor(sigma, dtype=torch.float64))
    torch.testing.assert_close(got, expected, rtol=2e-10, atol=0.0)


@pytest.mark.parametrize("sigma", [0.9, 1.0, 1.1])
def test_images_and_fourier_series_agree_in_the_overlap(sigma: float) -> None:
    x = torch.linspace(-3.1, 3.1, 100, dtype=torch.float64)
    level = torch.full_like(x, sigma)
    torch.testing.assert_close(torus._score_images(x, level), torus._score_fourier(x, level), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("sigma", [0.4, 1.5, 5.0])
def test_score_is_the_derivative_of_the_log_density(sigma: float) -> None:
    x, step, level = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64), 1e-5, f64(sigma)
    above, below = torus._density(x + step, level), torus._density(x - step, level)
    torch.testing.assert_close(torus.score(x, level), (above / below).log() / (2 * step), rtol=1e-7, atol=1e-10)


def test_score_is_periodic_and_keeps_the_dtype() -> None:
    x, sigma = torch.linspace(-3.0, 3.0, 12).reshape(3, 4), torch.tensor([0.2, 1.0, 3.0])[:, None]
    got = torus.score(x, sigma)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, torus.score(x + 4.0 * math.pi, sigma), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(got.double(), torus.score(x.double(), sigma.double()), rtol=1e-6, atol=0.0)


def test_score_against_the_reference() -> None:
    """Exact scores everywhere, and the table of the reference within the error of its nearest-node lookup.

    The reference adds 2.2e-16 to its unnormalised density, which drives its tail scores to 0 below p = 1e-13: those
    entries are left out. Its lookup errs by 0.1 % up to σ = 0.3, 0.3 % at σ = 1 and 0.7 % at σ = π.
    """
    oracle = np.load(data(REFERENCE))
    x, sigma = torch.from_numpy(oracle["torus_x"]), torch.from_numpy(oracle["torus_sigma"])
    got = torus.score(x, sigma[:, None])
    torch.testing.assert_close(got, torch.from_numpy(oracle["torus_score_exact"]), rtol=1e-9, atol=1e-12)
    table, density = torch.from_numpy(oracle["torus_score"]), torch.from_numpy(oracle["torus_p"])
    tolerance = torch.where(sigma <= 0.3, 1.5e-3, torch.where(sigma <= 1.0, 3e-3, 7e-3))[:, None]
    compared = density > 1e-12
    assert compared.sum() == 39
    assert ((got - table).abs() <= tolerance * got.abs() + 1e-12)[compared].all()


@pytest.mark.parametrize("sigma", [0.05, 1.0, 2.0, 2.0 * math.pi])
def test_samples_follow_the_density(sigma: float) -> None:
    x = torus.sample(torch.full((20_000,), sigma, dtype=torch.float64), torch.Generator().manual_seed(1))
    assert float(x.abs().max()) <= math.pi
    assert stats.kstest(x.numpy(), lambda values: wrapped_cdf(values, sigma)).pvalue > 0.01


@pytest.mark.parametrize("sigma", [0.25, 0.7, 1.0, 2.0, 2.0 * math.pi])
def test_score_norm_against_high_precision_quadrature(sigma: float) -> None:
    with mpmath.workdps(40):

        def integrand(x: mpmath.mpf) -> mpmath.mpf:
            p, slope = exact_density(x, sigma)
            return 2 * slope**2 / p

        upper = min(math.pi, 9.0 * sigma)
        exact = math.sqrt(float(mpmath.quad(integrand, [0, upper / 2, upper], maxdegree=5)))
    assert float(torus.score_norm(torch.tensor(sigma, dtype=torch.float64))) == pytest.approx(exact, rel=1e-8)


def test_score_norm_against_the_reference() -> None:
    """The reference stores E[score²] without the root, by Monte Carlo with 10⁴ draws: about 1.5 % of noise."""
    oracle = np.load(data(REFERENCE))
    got = torus.score_norm(torch.from_numpy(oracle["torus_sigma"])).square()
    # The quadrature stored beside it errs by 5e-6 at σ = 3.14, as 40-digit quadrature shows: 1.0449194401e-4.
    torch.testing.assert_close(got, torch.from_numpy(oracle["torus_score_norm_exact"]), rtol=5e-6, atol=0.0)
    assert float(got[-1]) == pytest.approx(1.0449194401558944e-4, rel=1e-7)
    spread = torch.from_numpy(oracle["torus_score_norm_table_mc_seeds"])
    torch.testing.assert_close(got.expand_as(spread), spread, rtol=0.05, atol=0.0)


def test_score_norm_derivative() -> None:
    sigma = torch.exp(torch.linspace(math.log(0.0051), math.log(6.27), 200, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(torus.score_norm(sigma).sum(), sigma)
    level = sigma.detach()
    step = 1e-5 * level
    difference = (torus._quadrature_norm(level + step) - torus._quadrature_norm(level - step)) / (2.0 * step)
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=0.0)
    scalar = torch.tensor(1.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(torus.score_norm, (scalar,))
    assert torch.autograd.gradgradcheck(torus.score_norm, (scalar,))


def test_errors_name_sigma_and_its_value() -> None:
    with pytest.raises(ValueError, match=r"sigma must lie in \[0.005, 6.28319\] rad, got values in \[7, 7\]"):
        torus.score_norm(f64(7.0))
    with pytest.raises(ValueError, match=r"sigma must lie in .*got values in \[0, 0\]"):
        torus.score(f64(1.0), f64(0.0))
