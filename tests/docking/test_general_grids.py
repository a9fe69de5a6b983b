"""Grids that are learned once for a model: made by a command, found beside its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from benchmark_runs import write_complexes, write_weights
from docking_models import complexes

from domains.docking.general_grids import general_fit, grid_path
from domains.docking.learn_grids import LearnConfig, cli, one_of_each, training_complexes
from domains.docking.networks.shipped import SHIPPED
from domains.docking.networks.weights import load_weights
from domains.docking.settings import fit_config
from domains.docking.training.clusters import Clusters
from domains.errors import InputError
from ld3.grids import Grid
from ld3.learn import FitResult
from ld3.learn.teacher import parts


@dataclass(frozen=True)
class Case:
    """A model, its data, and a command line that learns its grids."""

    weights: Path
    data: Path
    arguments: list[str]


@pytest.fixture
def case(tmp_path: Path) -> Case:
    weights, data = write_weights(tmp_path / "model.safetensors"), write_complexes(tmp_path / "data", "1of6", "1uou")
    (tmp_path / "held.txt").write_text("1uou\n")
    (tmp_path / "none.txt").write_text("nothing\n")
    lists = ["--validation-targets", str(tmp_path / "held.txt"), "--validation-ligands", str(tmp_path / "none.txt")]
    arguments = ["--weights", str(weights), "--data", str(data), "--complexes", "2", "--poses", "9", "--steps", "2"]
    return Case(weights, data, [*arguments, *lists, "--cache", str(tmp_path / "cache")])


def untested(path: Path) -> None:
    """Let the fit of a file count as learned: its few poses cannot show that it is."""
    replace(FitResult.load(path), test=None).save(path)


def test_a_grid_is_learned_on_the_training_split_and_found_beside_the_weights(case: Case, tmp_path: Path) -> None:
    cli([*case.arguments, "--nfe", "3"])
    path = grid_path(case.weights, "dpmpp_2m", 3)
    assert path == tmp_path / "model.grids" / "dpmpp_2m_3.json"
    learned = FitResult.load(path)
    assert learned.config["steps"] == 2
    assert learned.config["phases"] == ["times"]
    assert learned.test is not None  # nine poses of one complex are too few for it
    assert (learned.test.verdict, learned.learned) == ("too few pairs", False)
    assert general_fit(load_weights(case.weights), 3) is None
    untested(path)
    found = general_fit(load_weights(case.weights), 3)
    assert found is not None
    assert found.grid.equals(learned.grid)


def test_a_gradient_is_of_as_many_poses_as_asked_for(case: Case) -> None:
    """With --batch 2 each of the two steps differentiates 2 poses, and not all of the training part."""
    used = {}
    for batch in (0, 2):
        cli([*case.arguments, "--nfe", "3", "--batch", str(batch)])
        learned = FitResult.load(grid_path(case.weights, "dpmpp_2m", 3))
        used[batch] = learned.curve[-1].network_evaluations
        assert learned.config["batch"] == (batch or fit_config(3).batch)
    train, _, _ = parts(9)
    assert used[0] - used[2] == 2 * 3 * (train - 2)


def test_the_grid_of_another_solver_nfe_or_file_is_not_taken(case: Case) -> None:
    cli([*case.arguments, "--nfe", "3"])
    untested(grid_path(case.weights, "dpmpp_2m", 3))
    model = load_weights(case.weights)
    assert general_fit(model, 3) is not None
    assert general_fit(model, 4) is None
    assert general_fit(model, 3, "ddim") is None
    assert general_fit(replace(model, path=None), 3) is None


def test_an_interrupted_run_goes_on(case: Case) -> None:
    """The second command finds the first grid's fit done, and the teacher's pairs with it."""
    cli([*case.arguments, "--nfe", "3"])
    first = grid_path(case.weights, "dpmpp_2m", 3)
    before = json.loads(first.read_text())
    first.unlink()
    cli([*case.arguments, "--nfe", "3", "4"])
    after = json.loads(first.read_text())
    assert after["grid"] == before["grid"]
    assert after["curve"] == before["curve"]
    assert grid_path(case.weights, "dpmpp_2m", 4).exists()


def test_half_of_the_complexes_come_from_the_other_folder(case: Case, tmp_path: Path) -> None:
    others = write_complexes(tmp_path / "others", "1ia1", "1s3v")
    config = LearnConfig(
        data=(case.data,),
        others=others,
        complexes=2,
        validation_targets=tmp_path / "held.txt",
        validation_ligands=tmp_path / "none.txt",
    )
    found, _ = training_complexes(config)
    assert [c.name.split("/")[0] in ("1ia1", "1s3v") for c in found] == [False, True]
    assert len(training_complexes(replace(config, complexes=9))[0]) == 3
    assert len(training_complexes(replace(config, others=None, complexes=9))[0]) == 1


def test_of_the_other_folder_what_is_alike_or_kept_out_is_left_out(case: Case, tmp_path: Path) -> None:
    others = write_complexes(tmp_path / "others", "1ia1", "1s3v")
    (tmp_path / "alike.txt").write_text("data/1of6\tothers/1ia1\n")
    (tmp_path / "out.txt").write_text("1s3v\n")
    config = LearnConfig(
        data=(case.data,),
        others=others,
        complexes=9,
        validation_targets=tmp_path / "held.txt",
        validation_ligands=tmp_path / "none.txt",
    )

    def proteins(config: LearnConfig) -> list[str]:
        return sorted(c.name.split("/")[0] for c in training_complexes(config)[0])

    assert proteins(config) == ["1ia1", "1of6", "1s3v"]
    assert proteins(replace(config, clusters=tmp_path / "alike.txt")) == ["1of6", "1s3v"]
    assert proteins(replace(config, clusters=tmp_path / "alike.txt", kept_out=tmp_path / "out.txt")) == ["1of6"]


def test_a_fit_may_start_from_the_times_beside_the_weights(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network levels of that grid are not taken over."""
    with pytest.raises(SystemExit):
        cli([*case.arguments, "--nfe", "3", "--improve"])
    assert "--improve: no grid of 3 evaluations lies beside the weights" in capsys.readouterr().err
    cli([*case.arguments, "--nfe", "3"])
    path = grid_path(case.weights, "dpmpp_2m", 3)
    old = FitResult.load(path)
    # A grid of before, at times that no hand-made grid has, with the network asked elsewhere.
    times = {f: nodes.clone() for f, nodes in old.grid.solver.items()}
    for nodes in times.values():
        nodes[1] = 0.9 * nodes[0] + 0.1 * nodes[-1]
    levels = {f: nodes[:-1] + 0.1 * nodes.diff() for f, nodes in times.items()}
    replace(old, grid=Grid(times, levels, "odd", old.grid.score_scale), test=None).save(path)
    cli([*case.arguments, "--nfe", "3", "--improve", "--steps", "0", "--cache", str(tmp_path / "other")])
    again = FitResult.load(path)
    assert "earlier" in again.hand_made or again.initial_grid in ("earlier", *again.hand_made)
    for factor, nodes in again.grid.solver.items():
        assert (again.grid.network[factor] == nodes[:-1]).all()


def test_what_earlier_fits_have_used_is_skipped(case: Case, tmp_path: Path) -> None:
    data = write_complexes(tmp_path / "more", "1ia1", "1of6", "1s3v", "1uou")
    config = LearnConfig(
        data=(data,), complexes=2, validation_targets=tmp_path / "held.txt", validation_ligands=tmp_path / "none.txt"
    )
    order = [c.name for c in training_complexes(replace(config, complexes=9))[0]]
    assert [c.name for c in training_complexes(replace(config, skip=1))[0]] == order[1:3]
    with pytest.raises(InputError, match="--skip: got 3, and there are 3 complexes"):
        training_complexes(replace(config, skip=3))


def test_clusters_take_turns() -> None:
    found = [replace(complexes()[0], name=name) for name in ("a/1", "a/2", "b/1", "c/1", "a/3", "b/2")]
    names = [c.name for c in one_of_each(found, Clusters([("b", "c")]))]
    assert names == ["a/1", "b/1", "a/2", "c/1", "a/3", "b/2"]


@pytest.mark.parametrize(("name", "learned"), [("demo", (4, 5, 6, 8, 10)), ("general", (4, 5, 8, 10))])
def test_the_models_that_come_with_it_have_grids_at_their_own_score_scale(name: str, learned: tuple[int, ...]) -> None:
    model = load_weights(SHIPPED[name])
    for nfe in (4, 5, 6, 8, 10):
        found = general_fit(model, nfe)
        assert (found is not None) == (nfe in learned)
        if found is not None:
            assert (found.grid.n_steps, found.grid.score_scale) == (nfe, model.score_scale)


def test_several_folders_are_drawn_from_cluster_by_cluster(tmp_path: Path) -> None:
    """Three of four complexes are alike: the fourth is among the first two, whatever the seed."""
    data = (
        write_complexes(tmp_path / "one", "1ia1", "1of6"),
        write_complexes(tmp_path / "two", "1s3v", "1uou"),
    )
    (tmp_path / "none.txt").write_text("another\n")
    (tmp_path / "alike.txt").write_text("1ia1\t1of6\t1s3v\n")
    none = tmp_path / "none.txt"
    config = LearnConfig(data=data, complexes=2, validation_targets=none, validation_ligands=none)

    def first_two(seed: int, clusters: Path | None) -> set[str]:
        found, _ = training_complexes(replace(config, seed=seed, clusters=clusters))
        return {c.name.split("/")[0] for c in found}

    assert all("1uou" in first_two(seed, tmp_path / "alike.txt") for seed in range(5))
    assert not all("1uou" in first_two(seed, None) for seed in range(5))


def test_mistakes_get_one_line(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    def line(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli([*case.arguments, *arguments])
        assert stop.value.code == 2
        (found,) = capsys.readouterr().err.strip().splitlines()
        return found

    assert "--complexes: got 0" in line("--complexes", "0")
    assert "nfe must be a positive multiple of 2 for heun" in line("--solver", "heun", "--nfe", "3")
    assert "nowhere: it is not a folder" in line("--data", "nowhere")
    path = grid_path(case.weights, "dpmpp_2m", 3)
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    with pytest.raises(InputError, match=r"dpmpp_2m_3\.json: it is no general grid of dpmpp_2m at 3 NFE .*learn it"):
        general_fit(load_weights(case.weights), 3)
    path.write_bytes(grid_path(SHIPPED["demo"], "dpmpp_2m", 5).read_bytes())
    with pytest.raises(InputError, match="it is of another solver, number of evaluations"):
        general_fit(load_weights(case.weights), 3)


def test_the_cost_is_said_before_and_is_not_less_than_what_is_spent(
    case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    cli([*case.arguments, "--nfe", "3"])
    said = capsys.readouterr().err.splitlines()
    line = next(line for line in said if "network evaluations, at" in line)
    assert said.index(line) < next(i for i, line in enumerate(said) if "final test" in line)
    most = int(line.split("up to ")[1].split(" ")[0].replace(",", ""))
    learned = FitResult.load(grid_path(case.weights, "dpmpp_2m", 3))
    teacher = 48 * (9 + 2)  # nine poses, one of them checked at twice the steps
    assert most >= teacher + learned.network_evaluations + 2 * learned.gradient_evaluations
    assert most < 2 * (teacher + learned.network_evaluations + 2 * learned.gradient_evaluations)
