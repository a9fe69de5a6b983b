"""The five lines of the README, and what a fit, a shipped grid and a user's files do through the public API."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmark_runs import write_complexes, write_weights
from rdkit import Chem
from safetensors.torch import load_file

from domains import docking
from domains.docking.engine import make_groups
from domains.docking.samplers import hand_made_sampler
from domains.docking.settings import fit_config
from ld3.learn import FitConfig, FitResult, Teacher

QUICK = Teacher(solver="dpmpp_2m", grid="edm", nfe=8, tolerance=10.0, checked=1)


def short(nfe: int) -> FitConfig:
    return replace(fit_config(nfe), steps=2, validate_every=1)


@pytest.mark.filterwarnings("ignore:the teacher is")  # QUICK takes few steps
def test_the_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an untrained model, and a fit of two steps from a short teacher."""
    monkeypatch.chdir(tmp_path)
    write_complexes(tmp_path / "my_targets", "1of6", "1uou")
    model = docking.load_model(write_weights(tmp_path / "model.safetensors"))
    complexes, problems = docking.read("my_targets")
    fit = docking.learn_grid(model, complexes, nfe=4, poses=10, config=short(4), teacher=QUICK)
    poses = docking.dock(model, complexes, fit, samples=3, seed=0)
    poses.write("out")
    assert problems == []
    assert (fit.nfe, fit.grid.score_scale, fit.initial_grid) == (4, model.score_scale, fit.initial_grid)
    content = json.loads((tmp_path / "out" / "poses.json").read_text())
    assert content["complexes"].keys() == {"1of6/1of6", "1uou/1uou"}
    for entry in content["complexes"].values():
        assert len(list(Chem.SDMolSupplier(str(tmp_path / "out" / entry["file"])))) == 3


def test_a_number_of_evaluations_is_the_grid_that_comes_with_the_weights(tmp_path: Path) -> None:
    """The demo's, learned at its score scale; refused at another one, and for another number."""
    model = docking.load_model("demo")
    complexes = docking.read()[0][:1]
    shipped = FitResult.load(Path(docking.__file__).parent / "weights" / "demo.grids" / "dpmpp_2m_4.json")
    by_number, by_fit = (docking.dock(model, complexes, method, samples=2) for method in (4, shipped))
    assert shipped.nfe == 4
    for name, poses in by_number.positions.items():
        np.testing.assert_array_equal(poses, by_fit.positions[name])
    with pytest.raises(ValueError, match="method does not go with the model: it is for score scale 7, the flow has 3"):
        docking.dock(replace(model, score_scale=3.0), complexes, shipped)


def test_without_a_learned_grid_a_number_of_evaluations_is_the_one_made_by_hand() -> None:
    """And the poses say so: for a number that none was learned for, and at another score scale."""
    model = docking.load_model("demo")
    complexes = docking.read()[0][:1]
    for own, nfe in ((model, 3), (replace(model, score_scale=3.0), 4)):
        found = docking.dock(own, complexes, nfe, samples=1)
        assert found.settings["method"] == {"solver": "dpmpp_2m", "grid": "edm", "nfe": nfe}
        by_hand = docking.dock(own, complexes, hand_made_sampler("edm", "dpmpp_2m", nfe), samples=1)
        for name, poses in found.positions.items():
            np.testing.assert_array_equal(poses, by_hand.positions[name])


@pytest.mark.filterwarnings("ignore:the teacher is")  # QUICK takes few steps
def test_a_fit_starts_from_the_general_grid_of_its_score_scale(tmp_path: Path) -> None:
    model = docking.load_model(write_weights(tmp_path / "model.safetensors"))
    complexes = docking.read()[0][:2]
    general = docking.learn_grid(model, complexes, 3, poses=10, config=short(3), teacher=QUICK)
    (tmp_path / "model.grids").mkdir()
    replace(general, test=None).save(tmp_path / "model.grids" / "dpmpp_2m_3.json")  # too few poses to pass it
    fits = [
        docking.learn_grid(
            replace(model, score_scale=c), complexes, 3, poses=10, config=short(3), teacher=QUICK, seed=1
        )
        for c in (model.score_scale, 5.0)
    ]
    assert fits[0].initial_grid == "general"
    assert fits[0].loss_learned <= fits[0].loss_initial
    assert fits[1].initial_grid != "general"


def test_a_fit_never_sees_a_start_that_is_docked(tmp_path: Path) -> None:
    """The teacher's starts lie in the folder of the fit."""
    model = docking.load_model(write_weights(tmp_path / "model.safetensors"))
    complexes = docking.read()[0][:1]
    docking.learn_grid(model, complexes, 3, poses=10, config=short(3), teacher=QUICK, folder=tmp_path / "fit")
    (file,) = (tmp_path / "fit" / "teacher").glob("*/start.safetensors")
    seen = load_file(file)["positions"] + torch.from_numpy(complexes[0].pocket.origin)

    (group,) = make_groups(model, complexes, samples=16, seed=0)
    ((_, docked),) = group.by_complex(group.start.positions)
    assert torch.cdist(seen.flatten(1), torch.from_numpy(docked).flatten(1)).min() > 1.0


def test_mistakes_are_refused_before_anything_is_computed(tmp_path: Path) -> None:
    model = docking.load_model(write_weights(tmp_path / "model.safetensors"))
    complexes = docking.read()[0][:1]
    with pytest.raises(ValueError, match="at least 2 poses and 1 complex, got 400 and 0"):
        docking.learn_grid(model, [], nfe=4)
    with pytest.raises(ValueError, match="nfe must be a positive multiple of 2 for heun, got 3"):
        docking.learn_grid(model, complexes, nfe=3, solver="heun")


def test_importing_the_package_loads_no_network() -> None:
    """Workers that check poses import its submodules, and need neither torch nor e3nn."""
    code = "import sys; import domains.docking; sys.exit(bool({'torch', 'e3nn'} & sys.modules.keys()))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(docking.__file__).parents[2])
