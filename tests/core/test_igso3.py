"""Density, score and score norm of IGSO(3), against 350-digit series, quadrature, and the tables of DiffDock."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import torch
from conftest import data
from torch import Tensor

from ld3.geometry import igso3, so3

REFERENCE = "diffdock_so3_torus.npz"


def f64(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def random_vectors(n: int, seed: int) -> Tensor:
    return so3.uniform(n, torch.Generator().manual_seed(seed), torch.float64)


def exact_density(omega: float, sigma: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    """f and ∂f/∂ω from the defining series, summed until terms fall below the working precision."""
    w, s = mpmath.mpf(omega), mpmath.mpf(sigma)
    degree = int(math.sqrt(2.0 * mpmath.mp.dps * math.log(10.0)) / sigma) + 1
    half = w / 2
    f = slope = mpmath.mpf(0)
    for degree_l in range(degree + 1):
        weight = (2 * degree_l + 1) * mpmath.exp(-degree_l * (degree_l + 1) * s**2 / 2)
        k = mpmath.mpf(2 * degree_l + 1) / 2
        f += weight * mpmath.sin(k * w) / mpmath.sin(half)
        slope += weight * (k * mpmath.cos(k * w) - mpmath.sin(k * w) * mpmath.cot(half) / 2) / mpmath.sin(half)
    return f, slope


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.3, 0.7, 0.999, 1.0, 1.55, 4.0])
def test_density_and_score_against_350_digit_series(sigma: float) -> None:
    """Reaches 36 standard deviations, where f/f(0) is near 1e-281 and the float64 series is noise."""
    angles = [w for w in (1e-3, 0.02, 0.3, 1.0, 1.8, 2.5, 3.1, 3.1415) if w <= 36.0 * sigma]
    with mpmath.workdps(350):
        exact = [exact_density(w, sigma) for w in angles]
        log_f = f64(*(float(mpmath.log(f)) for f, _ in exact))
        slope = f64(*(float(df / f) for f, df in exact))
    omega = f64(*angles)
    level = torch.tensor(sigma, dtype=torch.float64)
    torch.testing.assert_close(so3.log_density(omega, level), log_f, rtol=1e-13, atol=1e-9)
    vectors = omega[:, None] * f64(2.0, -1.0, 2.0) / 3.0
    expected = slope[:, None] * f64(2.0, -1.0, 2.0) / 3.0
    torch.testing.assert_close(so3.score(vectors, level), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("sigma", [0.9, 1.0, 1.1])
def test_wrapped_form_and_series_agree_in_the_overlap(sigma: float) -> None:
    omega = torch.linspace(igso3.ANGLE_MIN, math.pi, 100, dtype=torch.float64)
    level = torch.full_like(omega, sigma)
    wrapped, series = igso3.score_ratio_wrapped(omega, level), igso3.score_ratio_series(omega, level)
    torch.testing.assert_close(wrapped, series, rtol=1e-9, atol=1e-12)
    wrapped, series = igso3.log_density_wrapped(omega, level), igso3.log_density_series(omega, level)
    torch.testing.assert_close(wrapped, series, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.01, 0.2, 0.95, 1.05, 3.0])
def test_density_solves_the_heat_equation(sigma: float) -> None:
    """∂f/∂(σ²) = (f'' + cot(ω/2) f')/2, the radial Laplacian of SO(3) with f the transition density at time σ²."""
    omega = torch.linspace(0.2, 3.0, 9, dtype=torch.float64) * min(1.0, 4.0 * sigma)
    omega.requires_grad_()
    variance = torch.full_like(omega, sigma**2, requires_grad=True)
    log_f = so3.log_density(omega, variance.sqrt())
    first, rate = torch.autograd.grad(log_f.sum(), (omega, variance), create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), omega)
    laplacian = second + first.square() + first / torch.tan(omega / 2.0)
    torch.testing.assert_close(rate, laplacian / 2.0, rtol=1e-8, atol=1e-8 / sigma**2)


@pytest.mark.parametrize("sigma", [0.1, 0.8, 1.3])
def test_score_is_the_gradient_of_the_density_on_the_group(sigma: float) -> None:
    """Central differences of log f(|log(exp(δ) exp(v))|) in δ: the score needs no further Jacobian."""
    v = f64(0.5, -0.3, 0.9)
    level = torch.tensor(sigma, dtype=torch.float64)
    step = 1e-5 * torch.eye(3, dtype=torch.float64)
    moved = so3.log(so3.exp(torch.cat([step, -step])) @ so3.exp(v)).norm(dim=-1)
    log_f = so3.log_density(moved, level)
    torch.testing.assert_close(so3.score(v, level), (log_f[:3] - log_f[3:]) / 2e-5, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("sigma", [0.05, 0.5, 2.0])
def test_score_at_zero_is_zero_with_the_slope_of_its_neighbourhood(sigma: float) -> None:
    level = f64(sigma)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    assert torch.equal(so3.score(zero, level), zero)
    slope = torch.func.jacrev(lambda v: so3.score(v[None], level)[0])(zero[0])
    near = so3.score(f64(0.01, 0.0, 0.0)[None], level)[0, 0] / 0.01
    torch.testing.assert_close(slope, near * torch.eye(3, dtype=torch.float64), rtol=5e-5, atol=0.0)


def test_score_depends_on_the_rotation_not_on_its_vector() -> None:
    v = random_vectors(8, 5)
    angle = v.norm(dim=-1, keepdim=True)
    other = v * (angle - 2.0 * math.pi) / angle
    sigma = torch.linspace(0.1, 2.0, 8, dtype=torch.float64)
    torch.testing.assert_close(so3.score(other, sigma), so3.score(v, sigma), rtol=1e-9, atol=1e-12)


def test_float32_in_float32_out() -> None:
    v, sigma = random_vectors(8, 6), torch.linspace(0.05, 2.0, 8, dtype=torch.float64)
    got = so3.score(v.float(), sigma.float())
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, so3.score(v, sigma).float(), rtol=1e-5, atol=0.0)


def test_scores_against_the_reference() -> None:
    """Exact scores everywhere; the tables of the reference where its series is representable.

    The reference looks its row up at a level 0.15 to 0.5 % above the one asked for, so it is compared at the level it
    used. It interpolates its table linearly in ω, which costs up to 6e-6 at ω = 3. Where log10 f < -8 float64
    cancellation leaves noise of either sign in its table, so nothing is compared there.
    """
    oracle = np.load(data(REFERENCE))
    angles, vectors = torch.from_numpy(oracle["so3_angles"]), torch.from_numpy(oracle["so3_vecs"])
    for key, level_key in (("requested_eps", "so3_eps"), ("table_eps", "so3_eps_table_value")):
        sigma = torch.from_numpy(oracle[level_key])
        expected = torch.from_numpy(oracle[f"so3_score_scalar_exact_at_{key}"])
        got = so3.score(vectors, sigma[:, None, None])
        torch.testing.assert_close(got, expected[:, None, :, None] * vectors / angles[:, None], rtol=1e-10, atol=1e-13)
    representable = torch.from_numpy(oracle["so3_log10_density_series"]) > -8.0
    table = torch.from_numpy(oracle["so3_score_vec"]).movedim(1, 2)[representable]
    torch.testing.assert_close(got.movedim(1, 2)[representable], table, rtol=1e-5, atol=1e-12)


def test_score_norm_against_the_reference_table() -> None:
    """The reference divides by a spurious sqrt(π), and its rectangle rule counts the node at ω = π in full: 2.5e-4."""
    oracle = np.load(data(REFERENCE))
    grid, table = torch.from_numpy(oracle["so3_eps_grid"]), torch.from_numpy(oracle["so3_exp_score_norm_table"])
    covered = grid >= so3.SIGMA_MIN
    expected = math.sqrt(math.pi) * table[covered]
    torch.testing.assert_close(so3.score_norm(grid[covered]), expected, rtol=2.6e-4, atol=0.0)
    narrow = (grid >= so3.SIGMA_MIN) & (grid < 0.7)
    torch.testing.assert_close(so3.score_norm(grid[narrow]), math.sqrt(math.pi) * table[narrow], rtol=3e-6, atol=0.0)


@pytest.mark.parametrize("sigma", [0.25, 1.0, 1.55, 4.0])
def test_score_norm_against_high_precision_quadrature(sigma: float) -> None:
    with mpmath.workdps(40):

        def integrand(w: mpmath.mpf) -> mpmath.mpf:
            f, slope = exact_density(w, sigma)
            return slope**2 / f * (1 - mpmath.cos(w)) / mpmath.pi

        upper = min(math.pi, 9.0 * sigma)
        exact = math.sqrt(float(mpmath.quad(integrand, [1e-9, upper / 2, upper], maxdegree=5)))
    assert float(so3.score_norm(torch.tensor(sigma, dtype=torch.float64))) == pytest.approx(exact, rel=1e-8)


def test_score_norm_tends_to_that_of_a_gaussian() -> None:
    sigma = f64(0.005, 0.01)
    torch.testing.assert_close(so3.score_norm(sigma), math.sqrt(3.0) / sigma, rtol=1e-4, atol=0.0)


def test_score_norm_derivative() -> None:
    sigma = torch.exp(torch.linspace(math.log(0.0051), math.log(3.99), 200, dtype=torch.float64)).requires_grad_()
    (slope,) = torch.autograd.grad(so3.score_norm(sigma).sum(), sigma)
    level = sigma.detach()
    step = 1e-5 * level
    difference = (so3._quadrature_norm(level + step) - so3._quadrature_norm(level - step)) / (2.0 * step)
    torch.testing.assert_close(slope, difference, rtol=1e-5, atol=0.0)
    scalar = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(so3.score_norm, (scalar,))
    assert torch.autograd.gradgradcheck(so3.score_norm, (scalar,))


def test_score_norm_table_built_in_inference_mode_serves_training() -> None:
    so3._score_norm.cache_clear()
    with torch.inference_mode():
        expected = float(so3.score_norm(f64(0.5)))
    sigma = f64(0.5).requires_grad_()
    norm = so3.score_norm(sigma)
    norm.backward()
    assert float(norm.detach()) == expected
    assert sigma.grad is not None
    assert float(sigma.grad) < 0.0
