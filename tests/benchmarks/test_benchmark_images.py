"""The images benchmark end to end: what it writes, against independent figures; stopped, resumed, refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_models import evaluations, small_denoiser, write_small
from matplotlib.image import imread
from rich.console import Console

from benchmarks.common.comparison import Paired
from benchmarks.common.grids import same_as, saved_grids
from benchmarks.common.store import Store
from benchmarks.images import __main__ as images
from benchmarks.images import page as images_page
from benchmarks.images.baselines import baselines
from benchmarks.images.methods import Method, make_starts, on_grids
from benchmarks.images.options import Options, check
from benchmarks.images.run import run
from benchmarks.images.summary import Summary, sentence
from domains.images.conditioned import Conditioned
from domains.images.flow import DenoiserFlow
from domains.images.metrics.quality import DigitsQuality
from domains.images.models.load import load
from domains.images.models.weights import load_weights
from domains.images.settings import TEACHER
from domains.progress import WorkProgress
from domains.seeds import seed_of
from ld3 import HAND_MADE, get_solver, integrate
from ld3.grids import gits
from ld3.learn import FitResult

PICTURES = ("distance_vs_nfe.png", "grids.png", "samples.png")
QUICK: dict[str, Any] = {"samples": 12, "nfe": (4,), "teacher_nfe": 8, "fit_pairs": 5, "fit_steps": 3, "batch": 5}
FLAGS = [
    word
    for name, value in QUICK.items()
    for word in (f"--{name.replace('_', '-')}", *(map(str, value) if isinstance(value, tuple) else [str(value)]))
]


@dataclass(frozen=True)
class Run:
    """A benchmark that has ended, and what it left."""

    out: Path
    calls: list[int]

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        return {(row["method"], row["nfe"]): row for row in self.results["rows"]}

    @property
    def fit(self) -> dict[str, Any]:
        (found,) = self.results["fit"]
        return dict(found)


Bench = Callable[..., Run]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.safetensors")


@pytest.fixture
def bench(small: Path, tmp_path: Path) -> Bench:
    """Run an untrained small model with fits of a few gradients, without pictures.

    `stop` is called with the number of every evaluation before it is made.
    """

    def go(out: str = "out", stop: Callable[[int], None] | None = None, **changes: Any) -> Run:  # noqa: ANN401
        options = Options(**{"model": str(small), "out": tmp_path / out, **QUICK, **changes})
        choices = check(options)
        flow = load(options.model, choices.model_options)
        assert isinstance(flow, DenoiserFlow)
        calls = evaluations(flow)
        if stop is not None:
            hook = flow.denoiser.network.register_forward_pre_hook
            hook(lambda network, inputs: stop(len(calls)))
        saved = saved_grids(options.grid, options.nfe, choices.solver, flow.clock, "")
        run(choices, flow, saved, Console(file=io.StringIO()))
        return Run(options.out, calls)

    return go


@pytest.fixture
def error(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The one line that the command line answers with."""

    def refused(*arguments: str | Path) -> str:
        given = ("--model", small, *FLAGS, "--out", tmp_path / "out", *arguments)
        assert images.main([str(word) for word in given]) == 2
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.strip())
        assert line.startswith("error: ")
        return line

    return refused


def without_timings(results: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on whether a run was interrupted."""
    rows = [{k: v for k, v in row.items() if k != "ms_per_image"} for row in results["rows"]]
    fits = [{k: v for k, v in fit.items() if k != "seconds"} for fit in results["fit"]]
    return {"rows": rows, "fit": fits, "paired": results["paired"], "teacher": results["teacher"]}


def test_figures_are_those_of_the_plain_loop_over_the_same_starts(bench: Bench, small: Path) -> None:
    found = bench(nfe=(4, 6), guidance=1.5)
    results, rows = found.results, found.rows
    assert results["complete"]
    assert results["distance"] == "mse"
    names = ("learned", *HAND_MADE, "gits")
    assert set(rows) == {("teacher", 8)} | {(name, nfe) for nfe in (4, 6) for name in names}
    assert rows["teacher", 8]["distance"] == 0
    assert all(row["ms_per_image"] > 0 for row in rows.values())

    flow = DenoiserFlow(load_weights(small), tuple(range(10)), 1.5)
    start = flow.prior(12, torch.Generator().manual_seed(seed_of(0, "evaluate")))
    solver = get_solver(results["config"]["solver"])
    with torch.no_grad():
        goal = integrate(flow, start, HAND_MADE[TEACHER.grid](flow.clock, 8), get_solver(TEACHER.solver))
        for fit in results["fit"]:
            learned = FitResult.load(found.out / fit["file"]).grid
            # As many trajectories as there are pairs to learn from, from starts of their own.
            trajectories = flow.prior(3, torch.Generator().manual_seed(seed_of(0, "gits")))
            by_gits = gits(flow, trajectories, fit["nfe"], fine_steps=60)
            by_hand = HAND_MADE["edm"](flow.clock, fit["nfe"])
            for name, grid in (("learned", learned), ("edm", by_hand), ("gits", by_gits)):
                end = integrate(flow, start, grid, solver).x
                row = rows[name, fit["nfe"]]
                expected = (end - goal.x).square().mean().item()
                assert row["distance"] == pytest.approx(expected, rel=1e-3)
                low, high = row["distance_ci"]
                assert 0 < low < expected < high
                pixels, features = DigitsQuality(flow.labels).measure(end)
                assert row["frechet_pixels"] == pytest.approx(pixels, rel=1e-3)
                assert row["frechet_features"] == pytest.approx(features, rel=1e-3)
            assert fit["loss_learned"] <= min(fit["hand_made"].values())
    for pair in results["paired"]:
        others = {name: rows[name, pair["nfe"]]["distance"] for name in (*HAND_MADE, "gits")}
        assert pair["second"] == min(others, key=others.__getitem__)
        own = rows["learned", pair["nfe"]]["distance"]
        assert pair["difference"] == pytest.approx(own - min(others.values()))
        assert pair["values"] == pytest.approx([own, min(others.values())])
    assert results["baselines"] == dict.fromkeys(HAND_MADE, 0) | {"gits": 3 * 60}


def test_the_command_draws_pictures_and_the_page_holds_its_figures(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert images.main(["--model", str(small), *FLAGS, "--label", "3", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "learned minus best that is not learned" in shown
    assert "gits: finding its grids took 180 evaluations, once for all NFE" in shown
    page = tmp_path / "digits.md"
    page.write_text("before\n<!-- table: digits -->\n<!-- end of table: digits -->\nafter\n")
    images_page.main(images_page.Options(out, page))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "--nfe 4 " in text
    assert "--label 3" in text
    results = Run(out, []).results
    for row in results["rows"]:
        twin = f" (= {row['same_as']})" if row["same_as"] else ""
        assert f"| {row['method']}{twin} | {row['nfe']} | {row['distance']:#.3g} |" in text
    for name in PICTURES:
        assert imread(out / name)[..., :3].std() > 0.02, f"{name} is blank"
        assert f"](digits_{name})" in text
        assert (tmp_path / f"digits_{name}").read_bytes() == (out / name).read_bytes()
    (out / "results.json").write_text(json.dumps(results | {"complete": False}))
    with pytest.raises(ValueError, match="must hold a run of benchmarks"):
        images_page.main(images_page.Options(out, page))
    assert page.read_text() == text


def test_trajectories_that_break_leave_a_remark_in_place_of_rows(tmp_path: Path) -> None:
    """With a network that answers with no number."""
    options = Options(model="digits", out=tmp_path / "out", **QUICK)
    choices = check(options)
    flow = DenoiserFlow(small_denoiser())
    flow.denoiser.network.register_forward_hook(lambda network, inputs, output: output * torch.nan)
    with WorkProgress(Console(file=io.StringIO()), {}) as progress:
        found, remarks = baselines(flow, choices, Store(tmp_path / "cache"), progress)
    assert [baseline.name for baseline in found] == list(HAND_MADE)
    (remark,) = remarks
    assert remark.startswith("there are no rows of gits: ")


def test_gits_counts_among_what_the_learned_grid_must_beat() -> None:
    flow = DenoiserFlow(small_denoiser(), (1,))
    method = Method("teacher", get_solver("ddim"), 4, HAND_MADE["edm"](flow.clock, 4))
    summary = Summary(flow, make_starts(flow, 3, 3, 0), None, 0)
    goals = torch.zeros(3, 1, 8, 8)
    for name, gap in (("teacher", 0.0), ("learned", 0.4), ("edm", 0.5), ("gits", 0.3)):
        summary.add(replace(method, name=name), goals + gap)
    (pair,) = summary.paired()
    assert pair.second == "gits"
    assert pair.difference == pytest.approx(0.4**2 - 0.3**2)


def test_a_grid_that_is_the_teacher_s_own_has_no_quotient() -> None:
    pair = Paired("distance", "learned", 8, "edm", 8, (0.0, 0.0), 0.0, (0.0, 0.0))
    assert (
        sentence(pair, "mse") == "8 NFE, learned minus best that is not learned (edm), mse to the teacher: +0 [+0, +0]"
    )


@pytest.mark.parametrize("learn", ["coefficients", "all"])
def test_learned_coefficients_are_used_saved_and_used_again(bench: Bench, small: Path, learn: str) -> None:
    """Alone, they leave the grid that the fit started from; row, file and --grid agree."""
    first = bench(learn=learn, fit_pairs=60, fit_steps=12, batch=20)
    fit = FitResult.load(first.out / first.fit["file"])
    flow = DenoiserFlow(load_weights(small), tuple(range(10)))
    assert fit.coefficients is not None
    assert max(float(table.abs().max()) for table in fit.coefficients.predictor.values()) > 0
    solver = get_solver(fit.solver)
    trajectories = flow.prior(28, torch.Generator().manual_seed(seed_of(0, "gits")))
    starts = {name: make(flow.clock, 4) for name, make in HAND_MADE.items()} | {"gits": gits(flow, trajectories, 4)}
    kept = torch.allclose(fit.grid.solver["x"], starts[fit.initial_grid].solver["x"], rtol=0, atol=1e-12)
    assert kept == (learn == "coefficients")
    assert [point.phase for point in fit.curve][-2:] == [learn, "test"]

    start = flow.prior(12, torch.Generator().manual_seed(seed_of(0, "evaluate")))
    with torch.no_grad():
        goal = integrate(flow, start, HAND_MADE[TEACHER.grid](flow.clock, 8), get_solver(TEACHER.solver)).x
        own = integrate(flow, start, fit.grid, replace(solver, coefficients=fit.coefficients)).x
        plain = integrate(flow, start, fit.grid, solver).x
    expected = (own - goal).square().mean().item()
    assert first.rows["learned", 4]["distance"] == pytest.approx(expected, rel=1e-3)
    assert (plain - goal).square().mean().item() != pytest.approx(expected, rel=1e-2)
    again = bench(grid=(first.out / first.fit["file"],), batch=20, out="again")
    assert again.rows["learned", 4]["distance"] == first.rows["learned", 4]["distance"]


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), torch.OutOfMemoryError("full")], ids=["stopped", "full"])
def test_an_interrupted_run_goes_on(bench: Bench, reason: BaseException) -> None:
    """What was made before is not made again, nor in batches of another size, and the results are the same."""
    whole = bench("whole")
    timing = 2 * (8 + 4 * 7)
    student = 3 * 4  # evaluations of a few-step grid: three batches

    def stop(calls: int) -> None:
        if calls == len(whole.calls) - timing - student + 1:
            raise reason

    with pytest.raises(type(reason)):
        bench(stop=stop)
    again = bench()
    assert len(again.calls) == timing + student, "the last grid, and the timing"
    assert without_timings(again.results) == without_timings(whole.results)
    assert len(bench(batch=4).calls) == timing


def test_a_saved_grid_is_used_again(bench: Bench) -> None:
    first = bench()
    saved = (first.out / first.fit["file"],)
    again = bench(grid=saved, out="again")
    assert first.fit["fitted_here"]
    assert not again.fit["fitted_here"]
    assert again.rows["learned", 4]["distance"] == first.rows["learned", 4]["distance"]
    assert "another model" not in str(again.results["remarks"])
    text = images_page.block(again.results, "")
    assert "4 NFE: the learned grid is one that an earlier run had saved" in text
    assert "None" not in text
    other = bench(grid=saved, label="3", out="other")
    assert any("learned for another model" in remark for remark in other.results["remarks"])


def test_labels_decide_what_is_made(bench: Bench) -> None:
    """Same noise, another class: other images, and another flow in the results."""
    three, any_class = bench(label="3", out="three"), bench(label="none", out="none")
    assert three.results["model"]["hash"] != any_class.results["model"]["hash"]
    assert three.rows["edm", 4]["distance"] != any_class.rows["edm", 4]["distance"]
    flow = DenoiserFlow(small_denoiser(), (3, 5))
    assert torch.cat([x.condition for x in make_starts(flow, 5, 2, 0)]).tolist() == [0, 1, 0, 1, 0]


def test_an_image_that_is_not_finite_counts() -> None:
    """As infinitely far where a student fails, and not at all where the teacher does."""
    flow = DenoiserFlow(small_denoiser(), (1,))
    edm = Method("edm", get_solver("ddim"), 4, HAND_MADE["edm"](flow.clock, 4))
    summary = Summary(flow, make_starts(flow, 4, 3, 0), None, 0)
    goals = torch.zeros(4, 1, 8, 8)
    goals[0] = torch.nan
    own = goals + 0.5
    summary.add(replace(edm, name="teacher"), goals)
    summary.add(edm, own)
    own = own.clone()
    own[2] = torch.inf
    summary.add(replace(edm, nfe=5), own)
    teacher, fine, broken = summary.rows
    assert (teacher.failed, fine.failed, broken.failed) == (1, 1, 2)
    assert (fine.n_images, fine.n_compared) == (4, 3)
    assert fine.distance == pytest.approx(0.25)
    assert broken.distance is None
    assert broken.frechet_pixels is None
    assert summary.best_hand(5) is None


def test_equal_grids_are_named_once() -> None:
    flow = DenoiserFlow(small_denoiser())
    solver = get_solver("ddim")
    # One step: all grids are the same.
    grids = {name: make(flow.clock, 1) for name, make in HAND_MADE.items()}
    assert set(same_as(grids).values()) == {"uniform_t"}
    found = on_grids(grids, solver, 1)
    assert [method.same_as for method in found] == [None, *["uniform_t"] * (len(HAND_MADE) - 1)]
    assert len({method.key for method in found}) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--nfe", "5", "5"), "--nfe: got a number twice"),
        (("--nfe", "5", "--solver", "heun"), "--nfe: "),
        (("--solver", "magic"), "--solver: "),
        (("--samples", "1"), "--samples: got 1; give a number >= 2"),
        (("--guidance", "-1"), "--guidance: got -1.0"),
        (("--label", "12"), "from 0 to 9, got 12"),
        (("--label", "cat"), "--label: got 'cat'"),
        (("--label", "none", "--guidance", "2"), "guidance must be 1 where no class is asked for"),
        (("--prompts", "a cat"), "it takes class labels, not prompts"),
        (("--prompts", " "), "--prompts: one of them is empty"),
        (
            ("--negative-prompt", "a cat"),
            "it takes class labels, not prompts; leave --prompts and --negative-prompt out",
        ),
        (("--resolution", "16"), "its images have one size; leave --resolution out"),
        (("--learn", "coefficients", "--solver", "ddim"), "--learn: ddim remembers no earlier step"),
        (("--learn", "all", "--solver", "heun"), "--learn: heun remembers no earlier step"),
        (("--learn", "all", "--solver", "ipndm_1"), "no coefficients to learn; use --learn joint, or"),
        (("--distance", "taste"), "--distance: got 'taste'"),
        (("--device", "abacus"), "--device: 'abacus' cannot be used"),
        (("--grid", "missing.json"), "it is no saved fit"),
        (("--batch", "0"), "--batch: got 0"),
    ],
)
def test_mistakes_get_one_line(error: Callable[..., str], arguments: tuple[str, ...], said: str) -> None:
    assert said in error(*arguments)


def test_models_that_are_none_get_one_line(error: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("no model")
    for model in ("missing.safetensors", str(tmp_path / "file.txt"), str(tmp_path)):
        assert model.rsplit("/", 1)[-1] in error("--model", model)


def test_distances_are_of_decoded_images_of_their_own_conditions() -> None:
    """The table hands each image to the flow with its condition and the teacher's image."""
    flow = DenoiserFlow(small_denoiser(), (0, 1))
    generator = torch.Generator().manual_seed(0)
    goal, own = (torch.randn(6, 1, 8, 8, generator=generator) for _ in range(2))
    method = Method("edm", get_solver("ddim"), 2, HAND_MADE["edm"](flow.clock, 2))
    summary = Summary(flow, make_starts(flow, 6, 4, 0), None, 0)
    summary.add(replace(method, name="teacher"), goal)
    summary.add(method, own)
    condition = torch.arange(6) % 2
    expected = flow.distance(Conditioned(own, condition), Conditioned(goal, condition)).numpy()
    assert summary.rows[1].distance == pytest.approx(float(np.mean(expected)))
