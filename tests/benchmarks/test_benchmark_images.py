"""The images benchmark end to end: what it writes, against independent figures; stopped, resumed, refused."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro
from benchmarks.images.rows import Paired, Table
from benchmarks.images.table import sentence
from image_models import methods_made, small_denoiser, write_small
from matplotlib.image import imread

from benchmarks.common.tables import command_line
from benchmarks.images import __main__ as images
from benchmarks.images import baselines as images_baselines
from benchmarks.images import fits as images_fits
from benchmarks.images import methods as images_methods
from benchmarks.images import page as images_page
from benchmarks.images.methods import Made, Method, make_starts, on_grids
from benchmarks.images.options import Options
from domains.images.conditioned import Conditioned
from domains.images.flow import DenoiserFlow
from domains.images.metrics.quality import DigitsQuality
from domains.images.models.weights import load_weights
from domains.images.settings import TEACHER
from domains.seeds import seed_of
from ld3 import HAND_MADE, get_solver, integrate
from ld3.grids import gits
from ld3.learn import FitResult

QUICK = ("--samples", "12", "--nfe", "4", "--teacher-nfe", "8", "--fit-pairs", "5", "--batch", "5")
PICTURES = ("distance_vs_nfe.png", "grids.png", "samples.png")


@dataclass(frozen=True)
class Run:
    """A benchmark that has ended, and what it left."""

    status: int
    out: Path
    stdout: str
    stderr: str

    @property
    def results(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "results.json").read_text())
        return found

    @property
    def rows(self) -> dict[tuple[str, int], dict[str, Any]]:
        return {(row["method"], row["nfe"]): row for row in self.results["rows"]}

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        lines = [line for line in self.stderr.splitlines() if line.strip() and "NFE/s" not in line]
        assert self.status == 2
        assert len(lines) == 1
        assert lines[0].startswith("error: ")
        return lines[0]


Bench = Callable[..., Run]


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Run with an untrained small model and fits of a few gradients; pictures, which take longer than all the rest, are
    drawn where they are asked for."""
    quick = {learn: replace(fit, steps=3, validate_every=1) for learn, fit in images_fits.FITS.items()}
    monkeypatch.setattr(images_fits, "FITS", quick)
    weights = write_small(tmp_path / "small.safetensors")

    def run(*arguments: str | Path, out: str = "out", pictures: bool = False) -> Run:
        capsys.readouterr()
        given = ("--model", weights, *QUICK, *arguments, "--out", tmp_path / out)
        with monkeypatch.context() as patch:
            for name in () if pictures else ("plot_distances", "plot_grids", "plot_samples"):
                patch.setattr(images, name, lambda path, report: path.touch())
            status = images.main([str(word) for word in given])
        return Run(status, tmp_path / out, *capsys.readouterr())

    return run


def without_timings(results: dict[str, Any]) -> dict[str, Any]:
    """What must not depend on whether a run was interrupted."""
    rows = [{k: v for k, v in row.items() if k != "ms_per_image"} for row in results["rows"]]
    fits = [{k: v for k, v in fit.items() if k != "seconds"} for fit in results["fit"]]
    return {"rows": rows, "fit": fits, "paired": results["paired"], "teacher": results["teacher"]}


def test_end_to_end(bench: Bench, tmp_path: Path) -> None:
    """Figures are those of the plain loop over the same starts."""
    run = bench("--nfe", "4", "6", "--guidance", "1.5", pictures=True)
    assert run.status == 0, run.stderr
    results, rows = run.results, run.rows
    assert results["complete"]
    assert results["distance"] == "mse"
    names = ("learned", *HAND_MADE, "gits")
    assert set(rows) == {("teacher", 8)} | {(name, nfe) for nfe in (4, 6) for name in names}
    assert rows["teacher", 8]["distance"] == 0

    flow = DenoiserFlow(load_weights(tmp_path / "small.safetensors"), tuple(range(10)), 1.5)
    start = flow.prior(12, torch.Generator().manual_seed(seed_of(0, "evaluate")))
    solver = get_solver(results["config"]["solver"])
    with torch.no_grad():
        goal = integrate(flow, start, HAND_MADE[TEACHER.grid](flow.clock, 8), get_solver(TEACHER.solver))
        for fit in results["fit"]:
            learned = FitResult.load(run.out / fit["file"]).grid
            # As many trajectories as there are pairs to learn from, from starts of their own.
            trajectories = flow.prior(4, torch.Generator().manual_seed(seed_of(0, "gits")))
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
            assert fit["loss_learned"] <= fit["loss_hand"] == min(fit["hand"].values())
    for pair in results["paired"]:
        hand = {name: rows[name, pair["nfe"]]["distance"] for name in (*HAND_MADE, "gits")}
        assert pair["hand"] == pytest.approx(min(hand.values()))
        assert pair["difference"] == pytest.approx(rows["learned", pair["nfe"]]["distance"] - min(hand.values()))
    assert "learned minus best hand-made" in run.stdout
    assert results["baselines"] == dict.fromkeys(HAND_MADE, 0) | {"gits": 4 * 60}
    assert "gits: finding its grids took 240 evaluations, once for all NFE" in run.stdout
    for name in PICTURES:
        assert imread(run.out / name)[..., :3].std() > 0.02, f"{name} is blank"


def test_the_page_holds_the_figures_of_a_run(bench: Bench, tmp_path: Path) -> None:
    run = bench("--label", "3", pictures=True)
    page = tmp_path / "digits.md"
    page.write_text("before\n<!-- table: digits -->\n<!-- end of table: digits -->\nafter\n")
    images_page.main(images_page.Options(run.out, page))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "--nfe 4 " in text
    assert "--label 3" in text
    assert "--batch 5" in text
    for row in run.results["rows"]:
        assert f"| {row['method']} | {row['nfe']} | {row['distance']:#.3g} |" in text.replace(" (= uniform_t)", "")
    for name in PICTURES:
        assert f"](digits_{name})" in text
        assert (tmp_path / f"digits_{name}").read_bytes() == (run.out / name).read_bytes()
    with pytest.raises(ValueError, match="must be what benchmarks"):
        images_page.block({"complete": True}, "")


def test_the_command_of_a_page_is_what_a_shell_takes() -> None:
    given = ["--nfe", "4", "6", "--model", "my models/one", "--prompts", "a cat", "it's", "--compile", "--learn", "all"]
    options = tyro.cli(Options, args=[*given, "--out", "elsewhere"])
    config = json.loads(json.dumps(asdict(options), default=str))
    line = command_line("benchmarks.images", Options, config, ("out",))
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "benchmarks.images"]
    again = tyro.cli(Options, args=words[3:])
    assert again == replace(options, out=None)


def test_trajectories_that_break_leave_a_remark_in_place_of_rows(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:  # noqa: ANN401
        raise ValueError("start must lead to finite trajectories")

    monkeypatch.setattr(images_baselines, "jump_costs", broken)
    run = bench()
    assert run.status == 0
    assert ("gits", 4) not in run.rows
    assert "gits" not in run.results["baselines"]
    assert "there are no rows of gits: start must lead to finite trajectories" in run.results["remarks"]


def test_gits_counts_among_what_the_learned_grid_must_beat() -> None:
    flow = DenoiserFlow(small_denoiser(), (1,))
    starts = make_starts(flow, 3, 3, 0)
    edm = HAND_MADE["edm"](flow.clock, 4)
    method = Method("teacher", get_solver("ddim"), 4, edm)
    table = Table(flow, starts, None, 0)
    goals = torch.zeros(3, 1, 8, 8)
    for name, gap in (("teacher", 0.0), ("learned", 0.4), ("edm", 0.5), ("gits", 0.3)):
        table.add(replace(method, name=name), Made(goals + gap, 1.0))
    (pair,) = table.paired()
    assert pair.best_hand == "gits"
    assert pair.difference == pytest.approx(0.4**2 - 0.3**2)


def test_fits_may_start_at_gits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is the nearest of all on the validation pairs, as is the grid of an earlier fit in its place."""
    first = bench()
    (fit,) = first.results["fit"]
    grid = FitResult.load(first.out / fit["file"]).grid
    monkeypatch.setattr(images_baselines.Jumps, "grid", lambda *_: grid)
    (again,) = bench().results["fit"]
    assert fit["start"] in HAND_MADE
    assert again["start"] == "gits"
    assert again["loss_start"] == pytest.approx(fit["loss_learned"], rel=1e-5)


def test_a_grid_that_is_the_teacher_s_own_has_no_quotient() -> None:
    pair = Paired(8, "edm", learned=0.0, hand=0.0, difference=0.0, ci=(0.0, 0.0))
    assert sentence(pair, "mse") == "8 NFE, learned minus best hand-made (edm), mse to the teacher: +0 [+0, +0]"


@pytest.mark.parametrize("learn", ["coefficients", "all"])
def test_learned_coefficients_are_used_saved_and_used_again(bench: Bench, tmp_path: Path, learn: str) -> None:
    """Alone, they leave the grid that the fit started from; row, file and --grid agree."""
    first = bench("--learn", learn)
    assert first.status == 0, first.stderr
    (entry,) = first.results["fit"]
    fit = FitResult.load(first.out / entry["file"])
    flow = DenoiserFlow(load_weights(tmp_path / "small.safetensors"), tuple(range(10)))
    assert fit.coefficients is not None
    assert max(float(table.abs().max()) for table in fit.coefficients.predictor.values()) > 0
    solver = get_solver(fit.solver)
    trajectories = flow.prior(4, torch.Generator().manual_seed(seed_of(0, "gits")))
    starts = {name: make(flow.clock, 4) for name, make in HAND_MADE.items()} | {"gits": gits(flow, trajectories, 4)}
    kept = torch.allclose(fit.grid.solver["x"], starts[fit.initial_grid].solver["x"], rtol=0, atol=1e-12)
    assert kept == (learn == "coefficients")
    assert [point.phase for point in fit.curve][-1] == learn

    start = flow.prior(12, torch.Generator().manual_seed(seed_of(0, "evaluate")))
    with torch.no_grad():
        goal = integrate(flow, start, HAND_MADE[TEACHER.grid](flow.clock, 8), get_solver(TEACHER.solver)).x
        own = integrate(flow, start, fit.grid, replace(solver, coefficients=fit.coefficients)).x
        plain = integrate(flow, start, fit.grid, solver).x
    expected = (own - goal).square().mean().item()
    assert first.rows["learned", 4]["distance"] == pytest.approx(expected, rel=1e-3)
    assert (plain - goal).square().mean().item() != pytest.approx(expected, rel=1e-2)
    again = bench("--grid", first.out / entry["file"], out="again")
    assert again.rows["learned", 4]["distance"] == first.rows["learned", 4]["distance"]


def test_an_interrupted_run_goes_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is computed before the interruption is not computed again, and the results are the same."""
    whole = bench()
    calls: list[str] = []
    original = images_methods._solve

    def solve(method: Method, *rest: Any) -> Any:  # noqa: ANN401
        if len(calls) == 10:
            calls.append("interrupted")
            raise KeyboardInterrupt
        calls.append(method.name)
        return original(method, *rest)

    monkeypatch.setattr(images_methods, "_solve", solve)
    stopped = bench(out="stopped")
    assert stopped.status == 130
    assert "the same command goes on from here" in stopped.stderr
    assert not stopped.results["complete"]
    again = bench(out="stopped")
    assert again.status == 0
    assert calls[:3] == ["teacher"] * 3
    assert calls.count("teacher") == calls.count("learned") == 3
    assert without_timings(again.results) == without_timings(whole.results)


def test_a_saved_grid_is_used_again(bench: Bench, tmp_path: Path) -> None:
    first = bench()
    (fit,) = first.results["fit"]
    again = bench("--grid", first.out / fit["file"], out="again")
    assert again.status == 0
    (reused,) = again.results["fit"]
    assert fit["fitted_here"]
    assert not reused["fitted_here"]
    assert again.rows["learned", 4]["distance"] == first.rows["learned", 4]["distance"]
    assert not again.results["remarks"] or "another model" not in str(again.results["remarks"])
    text = images_page.block(again.results, "")
    assert "4 NFE: the learned grid is one that an earlier run had saved" in text
    assert "None" not in text
    other = bench("--grid", first.out / fit["file"], "--label", "3", out="other")
    assert any("learned for another model" in remark for remark in other.results["remarks"])


def test_labels_decide_what_is_made(bench: Bench, tmp_path: Path) -> None:
    """Same noise, another class: other images, and another flow in the results."""
    three, any_class = bench("--label", "3", out="three"), bench("--label", "none", out="none")
    assert three.results["model"]["hash"] != any_class.results["model"]["hash"]
    assert three.rows["edm", 4]["distance"] != any_class.rows["edm", 4]["distance"]
    flow = DenoiserFlow(small_denoiser(), (3, 5))
    assert torch.cat([x.condition for x in make_starts(flow, 5, 2, 0)]).tolist() == [0, 1, 0, 1, 0]


def test_an_image_that_is_not_finite_counts(tmp_path: Path) -> None:
    """As infinitely far where a student fails, and not at all where the teacher does."""
    flow = DenoiserFlow(small_denoiser(), (1,))
    starts = make_starts(flow, 4, 3, 0)
    edm = Method("edm", get_solver("ddim"), 4, HAND_MADE["edm"](flow.clock, 4))
    table = Table(flow, starts, None, 0)
    goals = torch.zeros(4, 1, 8, 8)
    goals[0] = torch.nan
    own = goals + 0.5
    table.add(replace(edm, name="teacher"), Made(goals, 1.0))
    table.add(edm, Made(own, 1.0))
    own = own.clone()
    own[2] = torch.inf
    table.add(replace(edm, nfe=5), Made(own, 1.0))
    teacher, fine, broken = table.rows
    assert (teacher.failed, fine.failed, broken.failed) == (1, 1, 2)
    assert (fine.n_images, fine.n_compared) == (4, 3)
    assert fine.distance == pytest.approx(0.25)
    assert broken.distance is None
    assert broken.frechet_pixels is None
    assert table.best_hand(5) is None


def test_equal_grids_are_named_once() -> None:
    flow = DenoiserFlow(small_denoiser())
    solver = get_solver("ddim")
    # One step: all grids are the same.
    found = on_grids({name: make(flow.clock, 1) for name, make in HAND_MADE.items()}, solver, 1)
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
def test_mistakes_get_one_line(bench: Bench, arguments: tuple[str, ...], said: str) -> None:
    assert said in bench(*arguments).error


def test_models_that_are_none_get_one_line(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("no model")
    for model in ("missing.safetensors", str(tmp_path / "file.txt"), str(tmp_path)):
        assert model.rsplit("/", 1)[-1] in bench("--model", model).error


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_runs_out_names_the_options_that_save_some(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    """What was computed before is kept: the teacher's images are not made again."""

    def no_room(*_: Any, **__: Any) -> Any:  # noqa: ANN401
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(images_fits, "fit", no_room)
        run = bench()
        lines = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
        assert run.status == 2
        assert len(lines) == 1
        assert "--batch" in lines[0]
        assert "--checkpoint" in lines[0]
    made = methods_made(monkeypatch)
    assert bench().status == 0
    assert "teacher" not in made


def test_other_errors_are_not_hidden(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:  # noqa: ANN401
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(images_fits, "fit", broken)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        bench()


def test_distances_are_of_decoded_images_of_their_own_conditions() -> None:
    """The table hands each image to the flow with its condition and the teacher's image."""
    flow = DenoiserFlow(small_denoiser(), (0, 1))
    starts = make_starts(flow, 6, 4, 0)
    generator = torch.Generator().manual_seed(0)
    goal, own = (torch.randn(6, 1, 8, 8, generator=generator) for _ in range(2))
    method = Method("edm", get_solver("ddim"), 2, HAND_MADE["edm"](flow.clock, 2))
    table = Table(flow, starts, None, 0)
    table.add(replace(method, name="teacher"), Made(goal, 1.0))
    table.add(method, Made(own, 1.0))
    condition = torch.arange(6) % 2
    expected = flow.distance(Conditioned(own, condition), Conditioned(goal, condition)).numpy()
    assert table.rows[1].distance == pytest.approx(float(np.mean(expected)))
