"""Fits on bound poses: their pairs, a stochastic student, and what docks on the grid that it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from docking_models import complexes, model

from domains import docking
from domains.docking.networks.weights import DockingModel
from domains.docking.pose_fits import Ends, bound_pairs, learn_on_poses
from domains.docking.poses.low_temperature_sde import PUBLISHED
from domains.docking.samplers import grid_sampler
from domains.docking.settings import TEACHER, fit_config
from ld3 import get_solver
from ld3.learn import FitResult


@pytest.fixture(scope="module")
def single() -> DockingModel:
    """Untrained, in float32."""
    found = model()
    return replace(found, network=found.network.float())


def test_pairs_end_at_the_bound_poses_with_noise_of_their_own(single: DockingModel) -> None:
    flow, pairs = bound_pairs(single, complexes(), 6, seed=1, steps=4)
    again = bound_pairs(single, complexes(), 6, seed=1, steps=4)[1]
    assert pairs.noise is not None and again.noise is not None
    for factor, z in pairs.noise.items():
        assert z.shape[:2] == (6, 3) and torch.equal(z, again.noise[factor])
    for pose, row in enumerate(pairs.end.complex_row.tolist()):
        found = next(c for c in complexes() if c.name == flow.batch.names[row])
        assert found.reference is not None
        own = pairs.end.positions[pose, : found.ligand.n_atoms] + flow.batch.origin[row]
        np.testing.assert_allclose(own, found.reference, atol=1e-3)
        torsions = pairs.noise["tor"][pose]
        assert (torsions[:, : found.ligand.n_torsions] != 0).all()
        assert (torsions[:, found.ligand.n_torsions :] == 0).all()
    assert bound_pairs(single, complexes(), 6, seed=1, steps=None)[1].noise is None


def test_a_stochastic_student_is_learned_and_docks(single: DockingModel) -> None:
    solver = PUBLISHED.solver(single.noise_range.clock(), exact=True)
    config = replace(fit_config(3), steps=2, batch=3, validate_every=1, phases=("times",))
    fit = learn_on_poses(single, complexes(), 3, solver, poses=4, config=config)
    assert fit.gradient_evaluations == 2 * 3 * 3
    assert fit.loss_learned <= min(fit.hand_made.values())
    drift = replace(config, phases=("coefficients",))
    more = learn_on_poses(single, complexes(), 3, solver, poses=4, config=drift, begin=fit.grid)
    assert more.initial_grid == "given" and more.loss_initial == pytest.approx(fit.loss_learned)
    sampler = grid_sampler(fit.grid, replace(solver, coefficients=more.coefficients), 1.0)
    runs = [docking.dock(single, complexes()[:1], sampler, samples=2, seed=seed) for seed in (0, 0, 1)]
    first, second, third = (run.positions[complexes()[0].name] for run in runs)
    assert np.array_equal(first, second) and not np.allclose(first, third, atol=0.1)


def test_an_ode_learns_on_the_same_poses(single: DockingModel) -> None:
    config = replace(fit_config(2), steps=1, batch=2, phases=("times",))
    fit = learn_on_poses(single, complexes(), 2, get_solver("ddim"), poses=4, config=config)
    assert fit.solver == "ddim" and fit.grid.n_steps == 2


def test_both_ends_count_half_each(single: DockingModel) -> None:
    """Before a step is taken, on the complex that chooses."""

    def fitted(*ends: Ends) -> FitResult:
        config = replace(fit_config(2), steps=0)
        return learn_on_poses(single, complexes(), 2, get_solver("ddim"), ends=ends, poses=4, config=config)

    teacher, bound, both = fitted("teacher"), fitted("bound"), fitted("teacher", "bound")
    for name, loss in both.hand_made.items():
        assert loss == pytest.approx((teacher.hand_made[name] + bound.hand_made[name]) / 2, rel=1e-5)
    assert both.network_evaluations == 2 * bound.network_evaluations
    assert abs(teacher.hand_made["edm"] - bound.hand_made["edm"]) > 1e-3


def test_the_teachers_end_is_where_it_arrives(single: DockingModel) -> None:
    """A student that is the teacher loses nothing, and is nearer to it than the teacher to twice its steps."""
    solver, config = get_solver(TEACHER.solver), replace(fit_config(TEACHER.nfe), steps=0)
    with pytest.warns(UserWarning, match="the teacher is .* a finer teacher would be worth it"):
        found = learn_on_poses(single, complexes(), TEACHER.nfe, solver, ends=("teacher",), poses=2, config=config)
    assert found.hand_made[TEACHER.grid] < 1e-6 < found.hand_made["uniform_t"]


def test_what_cannot_be_learned_is_refused(single: DockingModel) -> None:
    solver = get_solver("ddim")
    with pytest.raises(ValueError, match="complexes must be at least 2"):
        learn_on_poses(single, complexes()[:1], 2, solver)
    unknown = replace(complexes()[1], reference=None)
    with pytest.raises(ValueError, match=f"must have bound poses, got '{unknown.name}' without one"):
        learn_on_poses(single, [complexes()[0], unknown], 2, solver)
    with pytest.raises(ValueError, match="ends must be of bound, teacher, each once, got bound, bound"):
        learn_on_poses(single, complexes(), 2, solver, ends=("bound", "bound"))
    stochastic = PUBLISHED.solver(single.noise_range.clock())
    with pytest.raises(ValueError, match="ends must be bound poses for the stochastic"):
        learn_on_poses(single, complexes(), 3, stochastic, ends=("teacher",))
    with pytest.raises(ValueError, match="temperatures take its place, got 7"):
        PUBLISHED.solver(single.noise_range.clock(7.0))


def test_the_published_grid_is_nineteen_of_twenty_steps(single: DockingModel) -> None:
    clock = single.noise_range.clock()
    times = clock.time(PUBLISHED.grid(clock).solver)["rot"]
    np.testing.assert_allclose(times, [*np.linspace(1, 0.1, 19), 0.0], atol=1e-12)
