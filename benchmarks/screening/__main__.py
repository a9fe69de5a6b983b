"""Screening: ``python -m benchmarks.screening``.

Ligands an hour and enrichment of known ligands among property-matched decoys, by `ld3 screen` itself with the demo
weights, on a target that they have seen and on one that they have not; peak memory for a short and a long library,
with a fake sampler. Writes results.json to --out; a run that was interrupted there goes on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import tyro
from pyarrow import parquet
from rdkit import Chem
from rich.console import Console

from benchmarks.common import manifest
from benchmarks.common.store import write_text
from benchmarks.common.tables import Table, console
from benchmarks.screening.enrichment import enrichment
from benchmarks.screening.targets import TARGETS, Target, actives, decoys
from domains.docking.screen.run import screen
from domains.docking.screen.settings import ScreenOptions
from domains.exits import run_command
from domains.options import check_numbers, mistake, prepare_folder

_PACKAGES: Final = ("torch", "rdkit", "numpy", "pyarrow")


@dataclass(frozen=True)
class Options:
    """Options of the benchmark."""

    data: Path = Path("../shared/data")
    """folder with fep_plus/ and complexes/"""
    out: Path = Path("out/screening")
    nfe: int = 5
    samples: int = 10
    decoys: int = 10
    """for each known ligand"""
    most_actives: int = 18
    """known ligands of a target that are used"""
    memory: tuple[int, ...] = (1000, 100_000)
    """lengths of the libraries that memory is measured on; none = not measured"""
    actors: tuple[int, ...] = ()
    """numbers of Ray workers on this machine whose speeds are compared, such as 1 2; none = not measured"""
    seed: int = 0
    weights: Path = Path("demo")
    """which of the targets are seen is said of the demo weights"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; the exit status."""
    options = tyro.cli(Options, args=arguments, description=__doc__, prog="python -m benchmarks.screening")
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    return run_command(partial(_benchmark, options, log), log, "use fewer --samples", options.out)


def _benchmark(options: Options, log: Console) -> int:
    check_numbers(options, {"nfe": 1, "samples": 1, "decoys": 1, "most_actives": 2, "seed": 0})
    for target in TARGETS:
        if not (options.data / target.receptor).is_dir():
            raise mistake("data", f"there is no {target.receptor} in {options.data}", "give the folder of the data")
    prepare_folder(options.out)
    found: dict[str, Any] = {
        "schema": "ld3.screening.results",
        "config": json.loads(json.dumps(vars(options), default=str)),
        "versions": manifest.versions(_PACKAGES),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
        "targets": [],
        "memory": [],
        "ray": [],
    }
    rows: list[list[str]] = []
    for target in TARGETS:
        entry = _target(options, target, log)
        found["targets"].append(entry)
        rows += [
            [target.name, "seen" if target.seen else "unseen", by, *(_cell(*figures[name]) for name in figures)]
            for by, figures in entry["enrichment"].items()
        ]
        write_text(options.out / "results.json", json.dumps(found, indent=2, allow_nan=False))
    for count in options.memory:
        found["memory"].append(_memory(options, count))
        write_text(options.out / "results.json", json.dumps(found, indent=2, allow_nan=False))
    for actors in options.actors:
        found["ray"].append(_ray(options, actors, log))
        write_text(options.out / "results.json", json.dumps(found, indent=2, allow_nan=False))
    _print(found, rows)
    return 0


def _target(options: Options, target: Target, log: Console) -> dict[str, Any]:
    known = actives(options.data, target)[: options.most_actives]
    others = decoys(options.data, target, known, options.decoys)
    folder = options.out / target.name
    folder.mkdir(exist_ok=True)
    library = folder / "library.smi"
    labelled = [(mol, "active") for mol in known] + [(mol, "decoy") for mol in others]
    # Shuffled, so that a chunk has both and the order of the library says nothing.
    order = np.random.default_rng(options.seed).permutation(len(labelled))
    lines = [f"{Chem.MolToSmiles(labelled[i][0])} {labelled[i][1]}{i}\n" for i in order]
    write_text(library, "".join(lines))
    receptor = options.data / target.receptor
    pocket = _first_record(receptor / "ligands.sdf", folder / "pocket.sdf")
    chosen = ScreenOptions(
        receptor / "protein.pdb",
        library,
        pocket=str(pocket),
        out=folder / "screen",
        nfe=options.nfe,
        samples=options.samples,
        seed=options.seed,
        weights=options.weights,
    )
    outcome = screen(chosen, log)
    rows = [row for path in sorted((folder / "screen" / "parts").rglob("*.parquet")) for row in _rows(path)]
    tested = [row for row in rows if row["status"] != "duplicate"]
    is_active = np.array([row["name"].startswith("active") for row in tested])
    # The parts too: a combination was fitted to tell poses of one ligand apart, not ligands.
    parts = [dict(row["parts"] or ()) for row in tested]
    names = sorted(set().union(*parts))
    by = {"score": np.array([np.nan if row["score"] is None else row["score"] for row in tested])}
    by |= {f"{name} alone": np.array([own.get(name, np.nan) for own in parts]) for name in names}
    by["length of the SMILES"] = np.array([float(sum(letter.isalpha() for letter in row["smiles"])) for row in tested])
    seconds = [row["seconds"] for row in rows if row["seconds"] is not None]
    return {
        "target": target.name,
        "seen": target.seen,
        "actives": int(is_active.sum()),
        "decoys": int((~is_active).sum()),
        "failed": outcome.failed,
        "seconds_a_ligand": float(np.mean(seconds)),
        "ligands_an_hour": 3600 / float(np.mean(seconds)),
        "enrichment": {name: enrichment(values, is_active, options.seed) for name, values in by.items()},
    }


def _ray(options: Options, actors: int, log: Console) -> dict[str, Any]:
    """Speed with so many workers, from the first chunk that is done to the last: without the start of the cluster."""
    target, folder = TARGETS[0], options.out / TARGETS[0].name
    out = options.out / f"ray_{actors}"
    chosen = ScreenOptions(
        options.data / target.receptor / "protein.pdb",
        folder / "library.smi",
        pocket=str(folder / "pocket.sdf"),
        out=out,
        nfe=options.nfe,
        samples=options.samples,
        seed=options.seed,
        weights=options.weights,
        chunk=8,
        engine="ray",
        actors=actors,
    )
    screen(chosen, log)
    ended = sorted((path.stat().st_mtime, len(_rows(path))) for path in (out / "parts").rglob("*.parquet"))
    after_first = sum(count for _, count in ended[1:])
    return {"actors": actors, "ligands_an_hour": 3600 * after_first / (ended[-1][0] - ended[0][0])}


def _rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(path, partitioning=None).to_pylist()
    return found


def _first_record(source: Path, to: Path) -> Path:
    write_text(to, source.read_text().split("$$$$")[0] + "$$$$\n")
    return to


def _memory(options: Options, count: int) -> dict[str, Any]:
    """In a process of its own, for a peak is a process's."""
    place = options.out / f"memory_{count}"
    shutil.rmtree(place, ignore_errors=True)  # the rest of a screen says nothing about a whole one
    command = [sys.executable, "-m", "benchmarks.screening.memory", str(count), str(place)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return figures


def _print(found: dict[str, Any], rows: list[list[str]]) -> None:
    out = console()
    headings = ("target", "in training", "ranked by", "EF1% (95%)", "BEDROC (95%)", "AUC (95%)")
    out.print(Table(headings, rows, text_columns=3).terminal("known ligands among decoys"))
    for entry in found["targets"]:
        out.print(
            f"{entry['target']}: {entry['actives']} actives, {entry['decoys']} decoys, {entry['failed']} failed; "
            f"{entry['seconds_a_ligand']:.2f} s a ligand, {entry['ligands_an_hour']:.0f} ligands an hour"
        )
    for entry in found["memory"]:
        out.print(f"{entry['ligands']} ligands, fake sampler: peak {entry['peak_mb']:.0f} MB, {entry['seconds']:.0f} s")
    for entry in found["ray"]:
        share = (
            entry["ligands_an_hour"] / entry["actors"] / found["ray"][0]["ligands_an_hour"] * found["ray"][0]["actors"]
        )
        out.print(
            f"Ray, {entry['actors']} workers: {entry['ligands_an_hour']:.0f} ligands an hour, efficiency {share:.0%}"
        )


def _cell(estimate: float, low: float, high: float) -> str:
    return f"{estimate:.2f} ({low:.2f}-{high:.2f})"


if __name__ == "__main__":
    sys.exit(main())
