from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import data
from scipy.integrate import quad

from ld3 import EDM, VE, Clock, RectifiedFlow, Schedule, VPCosine, VPDiscrete, VPLinear, VPSteps

F64 = torch.float64
SCALED_LINEAR = tuple(float(b) for b in np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)
STEPS = VPSteps("scaled_linear", 0.00085, 0.012)
SCHEDULES: list[Schedule] = [
    VPLinear(),
    VPCosine(),
    VPDiscrete(SCALED_LINEAR),
    STEPS,
    VE(0.1, 5.0),
    EDM(),
    RectifiedFlow(),
]
each_schedule = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: type(s).__name__)


def times(schedule: Schedule, n: int = 101) -> torch.Tensor:
    return torch.linspace(schedule.t_min, schedule.t_max, n, dtype=F64)


@each_schedule
def test_log_snr_is_log_of_alpha_over_sigma_and_falls(schedule: Schedule) -> None:
    t = times(schedule)
    lam = schedule.half_log_snr(t)
    torch.testing.assert_close(lam, torch.log(schedule.alpha(t) / schedule.sigma(t)), rtol=1e-12, atol=1e-12)
    assert (lam.diff() < 0).all()


@each_schedule
def test_time_inverts_half_log_snr(schedule: Schedule) -> None:
    t = times(schedule)
    torch.testing.assert_close(schedule.time(schedule.half_log_snr(t)), t, rtol=1e-12, atol=1e-14)


@each_schedule
def test_schedules_are_differentiable(schedule: Schedule) -> None:
    # Between the kinks of the discrete table.
    t = (times(schedule, 7)[1:-1] + 3e-4).requires_grad_()
    lam = schedule.half_log_snr(t).detach().requires_grad_()
    for function, argument in (
        (schedule.alpha, t),
        (schedule.sigma, t),
        (schedule.half_log_snr, t),
        (schedule.time, lam),
    ):
        assert torch.autograd.gradcheck(function, argument, eps=1e-7, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("schedule", [VPLinear(), VPCosine(), EDM(), RectifiedFlow()], ids=lambda s: type(s).__name__)
def test_no_noise_is_a_finite_time(schedule: Schedule) -> None:
    lam = torch.tensor(math.inf, dtype=F64, requires_grad=True)
    time = schedule.time(lam)
    time.backward()
    assert time.item() == pytest.approx(0, abs=1e-12)
    assert lam.grad == 0


def test_vp_linear_integrates_beta() -> None:
    schedule = VPLinear(0.1, 20.0)
    for t in (0.01, 0.3, 1.0):
        integral, _ = quad(lambda s: 0.1 + s * 19.9, 0, t)
        assert schedule.alpha(torch.tensor(t, dtype=F64)).item() == pytest.approx(math.exp(-integral / 2), rel=1e-12)


def test_vp_cosine_matches_its_definition() -> None:
    def f(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    for t in (0.001, 0.5, 0.99):
        alpha = VPCosine().alpha(torch.tensor(t, dtype=F64)).item()
        assert alpha**2 == pytest.approx(f(t) / f(0), rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "betas"),
    [
        (VPSteps(), np.linspace(1e-4, 0.02, 1000)),
        (STEPS, SCALED_LINEAR),
        (VPSteps("linear", 0.001, 0.2, 10), np.linspace(0.001, 0.2, 10)),
    ],
)
def test_steps_are_those_of_ddpm(schedule: VPSteps, betas: np.ndarray) -> None:
    t = torch.arange(schedule.n, dtype=F64)
    products = np.cumprod(1 - np.array(betas))
    np.testing.assert_allclose(schedule.alpha(t).square().numpy(), products, rtol=1e-4)
    between = schedule.half_log_snr(t[:-1] + 0.25)
    torch.testing.assert_close(between, 0.75 * schedule.half_log_snr(t[:-1]) + 0.25 * schedule.half_log_snr(t[1:]))


def test_cosine_steps_follow_the_cosine() -> None:
    t = torch.arange(990, dtype=F64)  # the last betas are capped
    exact = torch.cos(((t + 1) / 1000 + 0.008) / 1.008 * math.pi / 2) / math.cos(0.008 / 1.008 * math.pi / 2)
    torch.testing.assert_close(VPSteps("squaredcos_cap_v2").alpha(t), exact, rtol=1e-3, atol=1e-6)


def test_zero_terminal_snr_keeps_the_first_step_and_ends_in_noise() -> None:
    plain, rescaled = STEPS, VPSteps("scaled_linear", 0.00085, 0.012, zero_terminal_snr=True)
    t = torch.arange(1000, dtype=F64)
    first, last = plain.alpha(t[0]), plain.alpha(t[-1])
    exact = (plain.alpha(t) - last) * first / (first - last)
    torch.testing.assert_close(rescaled.alpha(t)[:-1], exact[:-1], rtol=1e-4, atol=1e-6)
    assert rescaled.alpha(t[-1]).item() == pytest.approx(2**-12)


def test_vp_discrete_runs_through_its_table() -> None:
    products = np.cumprod(1 - np.array(SCALED_LINEAR))
    t = torch.arange(1, 1001, dtype=F64) / 1000
    np.testing.assert_allclose(VPDiscrete(SCALED_LINEAR).alpha(t).square().numpy(), products, rtol=1e-12)


def test_ve_is_geometric() -> None:
    np.testing.assert_allclose(VE(0.03, 3.0).sigma(torch.linspace(0, 1, 5)).numpy(), np.geomspace(0.03, 3.0, 5))


@pytest.mark.parametrize(
    ("key", "schedule"), [("VE", EDM()), ("VP", VPLinear()), ("VPdisc", VPDiscrete(SCALED_LINEAR))], ids=str
)
def test_equal_steps_in_log_snr_are_those_of_the_reference(key: str, schedule: Schedule) -> None:
    golden = np.load(data("ld3_log_snr_times.npz"))
    start, end = Clock({"x": schedule}).bounds["x"]
    for n in (5, 10):
        ours = schedule.time(torch.linspace(start, end, n + 1, dtype=F64))
        np.testing.assert_allclose(ours.numpy(), golden[f"{key}/lambda/N{n}/init/wr0.5/f64/t1"], rtol=1e-9)


@pytest.mark.parametrize("score_scale", [1.0, 3.0])
def test_levels_of_a_clock_are_those_of_the_paths_whatever_its_score_scale(score_scale: float) -> None:
    schedules = {"a": VE(0.1, 5.0), "b": VPLinear()}
    clock = Clock(schedules, score_scale)
    t = torch.tensor([0.2, 0.9], dtype=F64)
    for name, schedule in schedules.items():
        torch.testing.assert_close(clock.levels(t)[name], torch.log(schedule.alpha(t) / schedule.sigma(t)))
        torch.testing.assert_close(clock.sigma(clock.levels(t))[name], schedule.sigma(t) / schedule.alpha(t))
        torch.testing.assert_close(clock.time(clock.levels(t))[name], t)
    assert clock.bounds["a"] == pytest.approx((-math.log(5.0), -math.log(0.1)))
    own_times = {"a": torch.tensor(0.5), "b": torch.tensor(0.7)}
    assert clock.time(clock.levels(own_times))["b"].item() == pytest.approx(0.7)


def test_impossible_parameters_are_named() -> None:
    with pytest.raises(ValueError, match=r"zero < sigma_min < sigma_max must hold, got \[0.0, 5.0, 0.1\]"):
        VE(5.0, 0.1)
    with pytest.raises(ValueError, match="t_min < t_max"):
        RectifiedFlow(t_max=1.0)
    with pytest.raises(ValueError, match=r"betas\[1\] = 1.5"):
        VPDiscrete((0.1, 1.5))
    with pytest.raises(ValueError, match="'cubic'"):
        VPSteps("cubic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="beta_start"):
        VPSteps(beta_start=0.5)
    with pytest.raises(ValueError, match="got 1"):
        VPSteps(n=1)
    with pytest.raises(ValueError, match="score_scale must be positive and finite, got 0"):
        Clock({"x": EDM()}, score_scale=0)
    with pytest.raises(ValueError, match="at least one factor"):
        Clock({})
