"""The files of `ld3 dock`: poses, summaries, what failed, and how all came about.

One ligand's files lie in the output folder itself; those of several lie in a folder each, with one summary over all.
run.json is written last: where it is there, the others are whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from rdkit import Chem

from domains.docking.poses.files import folder_names, write_sdf
from domains.docking.ranked_poses import RankedPoses
from domains.errors import InputError, InputProblem

SCHEMA: Final = "ld3.docking.run"
RUNS_SCHEMA: Final = f"{SCHEMA}s"
"""Of several ligands."""

_PACKAGES: Final = ("torch", "rdkit", "gemmi", "numpy", "posebusters")


def write_ligand(folder: Path, found: RankedPoses, key: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Write all files of one ligand; the content of its run.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").unlink(missing_ok=True)  # of other poses
    complex_, poses = found.complex, list(found)
    tags = [found.sdf_tags(pose) for pose in poses]
    write_sdf(folder / "poses.sdf", complex_.ligand, found.positions, tags)
    write_sdf(folder / "best.sdf", complex_.ligand, found.positions[:1], tags[:1])
    write_text(folder / "receptor.pdb", "\n".join([*complex_.protein.pdb_lines, "END\n"]))
    if complex_.reference is not None:
        write_sdf(folder / "reference.sdf", complex_.ligand, complex_.reference[None], [{}])
    name = complex_.name
    rows = [{"name": name, **own, "valid": own.get("valid", "")} for own in tags]
    write_table(folder / "summary.csv", rows)
    content = {
        "schema": SCHEMA,
        "version": 1,
        "key": key,
        "name": name,
        "smiles": Chem.MolToSmiles(complex_.ligand.mol),
        "protein": {"file": str(complex_.protein.path), "report": str(complex_.protein.report)},
        "pocket": {"spec": complex_.pocket.spec, "residues": list(complex_.pocket.residue_ids)},
        "expectation": list(found.expectation),
        "remarks": list(complex_.remarks),
        "failed_samples": list(found.failed),
        "poses": rows,
        "seconds": dict(found.seconds),
        "summary": summary_row(found),
        "config": dict(config),
        "versions": versions(),
    }
    write_text(folder / "run.json", json.dumps(content, indent=2, allow_nan=False))
    return content


def summary_row(found: RankedPoses) -> dict[str, str]:
    """One line about a ligand: its best pose, and what is known of all."""
    best, rmsd = found.best, found.rmsd
    tags = {name: value for name, value in found.sdf_tags(best).items() if name not in ("rank", "sample", "cluster")}
    row = {
        "name": found.complex.name,
        "smiles": Chem.MolToSmiles(found.complex.ligand.mol),
        "poses": str(len(found)),
        "clusters": str(found.clusters.max()),
        "cluster_size": str(found.best_cluster_size),
        **tags,
        "seconds": f"{sum(found.seconds.values()):.2f}",
    }
    return row if rmsd is None else {**row, "lowest_rmsd": f"{np.min(rmsd):.3f}"}


def check_folder(out: Path, alone: bool) -> None:
    """Refuse a folder with results of another kind, which would lie among the new ones.

    Args:
        out: folder of the run; need not exist.
        alone: whether one ligand is docked, whose files lie in `out` itself.

    Raises:
        InputError: if it holds a run of one ligand, and several are docked now; the other way round; or no docking.
    """
    try:
        found = json.loads((out / "run.json").read_text())
    except (OSError, ValueError):
        return
    kinds = {SCHEMA: "one ligand's poses", RUNS_SCHEMA: "poses of several ligands"}
    schema = str(found.get("schema")) if isinstance(found, dict) else ""
    if schema != (SCHEMA if alone else RUNS_SCHEMA):
        message = f"{out} holds {kinds.get(schema, 'results of another command')}"
        raise InputError(InputProblem("--out", "", message, "give another folder, or remove that one"))


def folders_of(out: Path, names: Sequence[str]) -> dict[str, Path]:
    """Name of a ligand -> folder of its files: `out` itself if it is alone."""
    return {name: out if len(names) == 1 else out / folder for name, folder in folder_names(names).items()}


def write_summary(
    out: Path,
    folders: Mapping[str, Path],
    contents: Mapping[str, Mapping[str, Any]],
    problems: Sequence[InputProblem],
    remarks: Sequence[str],
    config: Mapping[str, Any],
) -> None:
    """failures.csv, and summary.csv and run.json over several ligands.

    Args:
        out: folder of the run.
        folders: as :func:`folders_of` has them, of all ligands.
        contents: name -> what :func:`write_ligand` returned, of those that are done.
        problems: records that were not docked.
        remarks: about the run as a whole.
        config: its options.
    """
    done = {name: contents[name] for name in folders if name in contents}
    write_failures(out / "failures.csv", problems, {name: own["failed_samples"] for name, own in done.items()})
    if len(folders) == 1:
        return
    write_table(out / "summary.csv", [own["summary"] for own in done.values()])
    content = {
        "schema": RUNS_SCHEMA,
        "version": 1,
        "folders": {name: str(folders[name].relative_to(out)) for name in done},
        "remarks": list(remarks),
        "config": dict(config),
        "versions": versions(),
    }
    write_text(out / "run.json", json.dumps(content, indent=2, allow_nan=False))


def write_failures(path: Path, problems: Sequence[InputProblem], failed: Mapping[str, Sequence[int]]) -> None:
    """Records that were not docked, and samples of docked ones that failed."""
    columns = ("file", "record", "message", "remedy")
    rows = [{name: getattr(problem, name) for name in columns} for problem in problems]
    for name, samples in failed.items():
        for sample in samples:
            text = "its coordinates are not finite"
            rows.append({"file": name, "record": f"sample {sample}", "message": text, "remedy": "use another --seed"})
    write_table(path, rows, columns)


def write_table(path: Path, rows: Sequence[Mapping[str, str]], columns: Sequence[str] = ()) -> None:
    """A CSV file with `columns`, and then whatever else rows have, in the order of appearance."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row)]))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_diffdock_layout(folder: Path, found: RankedPoses) -> None:
    """rank1.sdf and rank1_confidence-0.12.sdf, rank2_confidence-0.50.sdf, ...: one pose a file, as DiffDock has them.

    What it calls confidence is the score here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("rank*.sdf"):
        old.unlink()
    for i, pose in enumerate(found):
        own, tags = found.positions[i : i + 1], [found.sdf_tags(pose)]
        names = [f"rank{pose.rank}_confidence{pose.score:.2f}.sdf", *(["rank1.sdf"] if pose.rank == 1 else [])]
        for name in names:
            write_sdf(folder / name, found.complex.ligand, own, tags)


def versions() -> dict[str, str]:
    """Of Python and of what poses depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
