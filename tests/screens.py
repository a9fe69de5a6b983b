"""Small screens that tests share: an untrained model with a grid of its own, a real pocket, small ligands."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from benchmark_runs import write_weights
from pyarrow import parquet

from domains import docking
from domains.docking.screen.settings import ScreenOptions
from domains.docking.structures.complexes import read
from ld3.learn import FitConfig, Teacher

SMILES = ("CC(=O)Nc1ccc(O)cc1", "CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "c1ccc2[nH]ccc2c1", "OCCN1CCCC1")


def many_smiles(count: int) -> list[str]:
    """Small molecules, no two alike."""
    heads = ("c1ccccc1", "c1ccncc1", "C1CCNCC1", "C1CCOC1", "c1cc[nH]c1", "C1CCSC1")
    middles = ("", "C", "CC", "CCC", "CCCC", "C=C", "OC", "NC", "SC")
    ends = ("O", "N", "F", "Cl", "Br", "C#N", "C(=O)O", "C(=O)N", "S(=O)(=O)C", "OC")
    found = [f"{head[:-1]}({middle}{end}){head[-1]}" for head in heads for middle in middles for end in ends]
    assert count <= len(found)
    return found[:count]


def write_grid(folder: Path) -> tuple[Path, Path]:
    """Weights of an untrained model, and a fit of two steps for it."""
    weights = write_weights(folder / "model.safetensors")
    quick = Teacher(solver="dpmpp_2m", grid="edm", nfe=4, tolerance=1e9, checked=1)
    config = FitConfig(optimiser="adam", phases=("times", "joint"), steps=1, validate_every=1, scale=2.0)
    model, complexes = docking.load_model(weights), read()[0][:1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # four steps are no teacher
        fit = docking.learn_grid(model, complexes, 2, poses=4, config=config, teacher=quick)
    fit.save(folder / "grid.json")
    return weights, folder / "grid.json"


def options(folder: Path, library: Path, out: Path, **changes: Any) -> ScreenOptions:  # noqa: ANN401
    """A screen with the model of :func:`write_grid` in `folder`."""
    found = read()[0][1]
    ligand = found.protein.path.parent / f"{found.name}_ligand.sdf"
    settings: dict[str, Any] = {
        "pocket": str(ligand),
        "nfe": 2,
        "samples": 2,
        "weights": folder / "model.safetensors",
        "grid": folder / "grid.json",
        "chunk": 3,
        "best": 5,
    }
    return ScreenOptions(found.protein.path, library, out=out, **{**settings, **changes})


def rows(out: Path) -> list[dict[str, Any]]:
    """All rows of a screen as a person would read them, without what the clock says."""
    found = [
        row
        for path in sorted((out / "parts").glob("*/*.parquet"))
        for row in parquet.read_table(path, partitioning=None).to_pylist()
    ]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]
