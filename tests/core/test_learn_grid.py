"""A grid in one call, samples in one call, and what is refused before anything is computed."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from flows import F64, GaussianFlow, MixtureFlow, PoseFlow
from mixture_fits import Counting, counting, mixture, pairs
from torch import Tensor

from ld3 import EDM, HAND_MADE, FitConfig, Grid, Teacher, VPLinear, get_solver, integrate, learn_grid, sample
from ld3.learn import LearnedGrid, Pairs, WarpConfig, fit, fit_warp, most_evaluations, run_teacher

SOLVER = get_solver("dpmpp_2m")
QUICK = FitConfig(steps=30)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_grid_in_one_call_is_pairs_divided_and_fitted() -> None:
    flow = mixture()
    start = flow.prior(80, generator())
    found = learn_grid(flow, 5, start=start, config=QUICK, teacher=Teacher(nfe=96))
    both = run_teacher(flow, start, Teacher(nfe=96))
    train, valid, test = both.split(seed=0)
    assert (len(train), len(valid), len(test)) == (44, 16, 20)
    by_hand = fit(flow, train, valid, SOLVER, 5, QUICK, test=test)
    assert found.learned
    assert found.grid == by_hand.grid
    fresh = pairs(flow, 128, 5)
    ends = [sample(flow, method, fresh.start) for method in (found, HAND_MADE["edm"](flow.clock, 5))]
    learned, edm = (flow.distance(end, fresh.end).mean() for end in ends)
    assert learned < 0.5 * edm


def test_starts_are_drawn_from_the_prior_and_can_be_repeated() -> None:
    flow = mixture()
    drawn, given = (
        learn_grid(flow, 3, start=start, config=FitConfig(steps=2), teacher=Teacher(nfe=16))
        for start in (10, flow.prior(10, generator()))
    )
    assert drawn.grid == given.grid


def test_divided_pairs_are_all_there_once_in_their_order() -> None:
    start = torch.arange(23, dtype=F64)[:, None]
    train, valid, test = Pairs(start, start, torch.zeros(1), True, 0).split(seed=3)
    assert (len(train), len(valid), len(test)) == (12, 4, 7)
    for part in (train, valid, test):
        assert (part.start.diff(dim=0) > 0).all()
    assert torch.equal(torch.cat([train.start, valid.start, test.start]).sort(0).values, start)
    assert not torch.equal(valid.start, Pairs(start, start, torch.zeros(1), True, 0).split(seed=4)[1].start)


@pytest.mark.filterwarnings("ignore:the teacher is .* from twice its steps")
def test_progress_counts_every_evaluation_up_to_the_most(tmp_path: Path) -> None:
    flow = counting()
    seen: list[tuple[int, int]] = []
    config = FitConfig(optimiser="adam", phases=("times", "joint"), steps=20, validate_every=7, anneal=True)
    teacher = Teacher(nfe=8, checked=4)

    def note(done: int, most: int) -> None:
        seen.append((done, most))

    learn_grid(flow, 4, start=70, config=config, teacher=teacher, folder=tmp_path, on_progress=note)
    done, most = zip(*seen, strict=True)
    assert len(set(most)) == 1
    assert list(done) == sorted(done)
    assert (
        done[-1]
        == flow.evaluations
        <= most[0]
        == teacher.evaluations(70) + most_evaluations(config, 36, 14, 4, n_test=20)
    )
    flow.evaluations = 0
    learn_grid(flow, 4, start=70, config=config, teacher=teacher, folder=tmp_path)
    assert flow.evaluations == 0


@pytest.mark.parametrize(("nfe", "warned"), [(4, True), (64, False)])
def test_a_coarse_teacher_is_worth_a_warning_beside_what_is_learned_from_it(nfe: int, warned: bool) -> None:
    """Whatever its own tolerance says."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        teacher = Teacher(nfe=nfe, tolerance=1e-9)
        found = learn_grid(mixture(), 3, start=10, config=FitConfig(steps=1), teacher=teacher)
    said = [str(w.message) for w in caught if "from twice its steps" in str(w.message)]
    assert bool(said) == warned, (said, found.loss)


def test_samples_of_a_fit_take_its_solver() -> None:
    flow = mixture()
    config = FitConfig(steps=3, phases=("all",))
    found = learn_grid(flow, 4, solver="unipc_bh1_2", start=20, config=config, teacher=Teacher(nfe=64))
    x = flow.prior(6, generator(1))
    assert torch.equal(sample(flow, found, 6, generator(1)), integrate(flow, x, found.grid, found.student()))
    grid = HAND_MADE["edm"](flow.clock, 4)
    assert torch.equal(sample(flow, grid, x, solver="ddim"), integrate(flow, x, grid, get_solver("ddim")))


def test_samples_of_what_does_not_go_with_the_flow_are_refused() -> None:
    flow = mixture()
    found = learn_grid(flow, 3, start=10, config=FitConfig(steps=1), teacher=Teacher(nfe=64))
    for other in (GaussianFlow(EDM(0.002, 40.0)), GaussianFlow(EDM(), score_scale=2.0)):
        with pytest.raises(ValueError, match=r"method must have been learned for the flow: it (runs|is for)"):
            sample(other, found, 2)
    with pytest.raises(ValueError, match="method must begin at the prior"):
        sample(flow, Grid.coupled({"x": torch.tensor([-1.0, 2.0], dtype=F64)}), 2)
    endless = Grid.coupled({"x": torch.tensor([flow.clock.bounds["x"][0], 0.0, math.inf], dtype=F64)})
    x = flow.prior(2, generator(0))
    first, second = ({"x": levels[0]} for levels in (endless.solver["x"].split([1, 2])))
    x = x - torch.expm1(first["x"] - second["x"]) * flow.displacement(x, first)["x"]
    onto_data = x + flow.displacement(x, second)["x"]  # the last step goes all the way, at order 1
    torch.testing.assert_close(sample(flow, endless, 2), onto_data)


# --- pairs that are not finite ---------------------------------------------------------------------------------------


def broken(part: Pairs[Tensor], rows: list[int]) -> Pairs[Tensor]:
    end = part.end.clone()
    end[rows] = math.nan
    return dataclasses.replace(part, end=end)


def test_pairs_that_are_not_finite_are_dropped_from_both_sets_and_counted() -> None:
    flow = mixture()
    train, valid = pairs(flow, 24, 0), pairs(flow, 12, 1)
    found = fit(flow, broken(train, [0, 5]), broken(valid, [3]), SOLVER, 4, QUICK)
    keep_train, keep_valid = (
        torch.tensor([i for i in range(n) if i not in bad]) for n, bad in ((24, (0, 5)), (12, (3,)))
    )
    clean = fit(flow, train.take(keep_train), valid.take(keep_valid), SOLVER, 4, QUICK)
    assert (found.dropped, clean.dropped) == (3, 0)
    assert found.grid == clean.grid
    assert found.loss_learned < found.loss_initial < math.inf
    warp = fit_warp(flow, broken(train, [0]), broken(valid, [1]), SOLVER, (4,), WarpConfig(iterations=1))
    assert warp.dropped == 2


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("left", [0, 2])
def test_nothing_left_to_learn_from_or_to_choose_by_is_refused(part: str, left: int) -> None:
    flow = counting()
    sets = {"train": pairs(flow, 4, 0), "valid": pairs(flow, 4, 1)}
    sets[part] = broken(sets[part].take(slice(left)), list(range(left)))
    flow.evaluations = 0
    for attempt in (
        lambda: fit(flow, sets["train"], sets["valid"], SOLVER, 4, QUICK),
        lambda: fit_warp(flow, sets["train"], sets["valid"], SOLVER, (4,), WarpConfig()),
    ):
        with pytest.raises(ValueError, match=f"{part} must hold at least one pair .* finite, got {left}"):
            attempt()
    assert flow.evaluations == 0


def test_validation_samples_that_break_with_every_grid_end_the_fit_with_a_word() -> None:
    class Torn(MixtureFlow):
        def noise(self, x_t: Tensor, t: Tensor) -> Tensor:
            return super().noise(x_t, t) * math.nan

    flow = mixture()
    torn = Torn(flow.schedule, flow.mean, flow.std, flow.weight)
    part = pairs(flow, 6, 0)
    with pytest.raises(ValueError, match="valid must stay finite with at least one of the grids"):
        fit(torn, part, part, SOLVER, 3, QUICK)


# --- refused before anything is computed -----------------------------------------------------------------------------


class Unhashable(Counting):
    """A flow that holds a function."""

    def __init__(self, flow: MixtureFlow) -> None:
        super().__init__(flow.schedule, flow.mean, flow.std, flow.weight)
        self.guide = lambda x: x

    def fingerprint(self) -> str:
        return MixtureFlow.fingerprint(self)


def test_a_flow_that_holds_a_function_is_refused_at_once(tmp_path: Path) -> None:
    flow = Unhashable(mixture())
    part = pairs(mixture(), 6, 0)
    for attempt in (
        lambda: fit(flow, part, part, SOLVER, 4, QUICK),
        lambda: fit_warp(flow, part, part, SOLVER, (4,), WarpConfig()),
        lambda: learn_grid(flow, 4, start=10, config=QUICK),
        lambda: run_teacher(flow, part.start, Teacher(), tmp_path),
    ):
        with pytest.raises(TypeError, match="cannot fingerprint a function"):
            attempt()
    assert flow.evaluations == 0


class CountingPoses(PoseFlow):
    calls = 0

    def displacement(self, x: Any, levels: Any) -> Any:  # noqa: ANN401
        self.calls += 1
        return super().displacement(x, levels)


def test_a_grid_with_a_clock_per_factor_is_refused_before_candidates_are_paid_for() -> None:
    flow = CountingPoses()
    learned = LearnedGrid(HAND_MADE["edm"](flow.clock, 4), shared=False)
    with torch.no_grad():
        learned.first_offset[1].fill_(0.5)
        earlier = learned()
    part = run_teacher(flow, flow.prior(6, generator()), Teacher(nfe=8, checked=1))
    flow.calls = 0
    for config in (FitConfig(shared_clock=True), FitConfig(shared_clock=True, initial_grid="earlier")):
        with pytest.raises(ValueError, match=r"grid 'earlier' cannot be learned: .*one clock per factor"):
            fit(flow, part, part, SOLVER, 4, config, starting_grids={"earlier": earlier})
    assert flow.calls == 0
    own = FitConfig(steps=1, shared_clock=False, initial_grid="earlier")
    assert fit(flow, part, part, SOLVER, 4, own, starting_grids={"earlier": earlier}).initial_grid == "earlier"


def test_other_mistakes_cost_nothing() -> None:
    flow = counting()
    for arguments, why in (
        ({"nfe": 5, "solver": "heun"}, "nfe must be a positive multiple of 2 for heun, got 5"),
        ({"solver": "rk4"}, "'rk4'"),
        ({"start": 1}, "start must hold at least 2 samples"),
        ({"config": FitConfig(initial_grid="mine")}, "must be 'best' or one of"),
        ({"config": FitConfig(optimiser="adam", radius={"y": 0.1})}, "radius must be a number"),
        ({"starting_grids": {"mine": HAND_MADE["edm"](GaussianFlow(VPLinear()).clock, 4)}}, "it runs from"),
        ({"starting_grids": {"mine": HAND_MADE["edm"](flow.clock, 4).at(2.0)}}, "score scale 2, the flow has 1"),
    ):
        settings: dict[str, Any] = {"nfe": 4, "start": 8, **arguments}
        with pytest.raises(ValueError, match=why):
            learn_grid(flow, **settings)
    assert flow.evaluations == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"validate_every": 0},
        {"batch": -1},
        {"chunk": 0},
        {"steps": -3},
        {"steps": 2.5},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"learning_rate": math.nan},
        {"coefficient_rate": -1.0},
        {"coefficient_depth": -1},
        {"clip": 0.0},
        {"decay": 1.0},
        {"min_learning_rate": -0.1},
        {"shift_rate": 0.0},
        {"radius": -0.1},
        {"radius": {"x": math.nan}},
        {"scale": 0.0},
        {"max_evaluations": 0},
        {"seconds": -1.0},
        {"seed": -1},
        {"phases": ()},
    ],
    ids=str,
)
def test_settings_out_of_their_range_are_named(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(settings))} must "):
        FitConfig(**settings)
    shared = settings.keys() & {field.name for field in dataclasses.fields(WarpConfig)}
    if shared:
        with pytest.raises(ValueError, match=f"^{next(iter(shared))} must "):
            WarpConfig(**settings)
