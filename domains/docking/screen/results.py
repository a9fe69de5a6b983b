"""Results of a screen on disk: one Parquet file a chunk, whole or not at all, and what is made of them all."""

from __future__ import annotations

import csv
import heapq
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from rdkit import Chem
from rdkit.Geometry import Point3D

from domains.docking.screen.worker import Row

_SCHEMA: Final = pa.schema(
    [
        ("row", pa.int64()),
        ("name", pa.string()),
        ("given", pa.string()),
        ("smiles", pa.string()),
        ("status", pa.string()),
        ("duplicate_of", pa.int64()),
        ("reason", pa.string()),
        ("remarks", pa.string()),
        ("isomers", pa.int32()),
        ("score", pa.float64()),
        ("parts", pa.map_(pa.string(), pa.float64())),
        ("cluster_size", pa.int32()),
        ("poses", pa.int32()),
        ("seconds", pa.float64()),
        ("grid", pa.string()),
        ("pose", pa.list_(pa.float32())),
    ]
)
_A_FOLDER: Final = 1000  # parts; some file systems slow down with many files in one folder
_OF_FAILURES: Final = ("row", "name", "given", "reason")


@final
class Parts:
    """The Parquet files of a screen, OUT/parts/0000/part-000000.parquet and so on, one for each chunk.

    Args:
        folder: that they are in.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in folder.glob("*/*.tmp"):  # of a run that was killed
            leftover.unlink()
        self.done = {int(path.stem.partition("-")[2]) for path in folder.glob("*/part-*.parquet")}

    def commit(self, chunk: int, rows: Sequence[Row]) -> None:
        """Keep the rows of a chunk: on disk, before the file has its name."""
        path = self._path(chunk)
        path.parent.mkdir(exist_ok=True)
        table = pa.Table.from_pylist([{**asdict(row), "parts": list(row.parts.items())} for row in rows], _SCHEMA)
        partial = path.with_suffix(".tmp")
        with partial.open("wb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        self.done.add(chunk)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """All rows so far, chunk by chunk."""
        for chunk in sorted(self.done):
            yield from parquet.read_table(self._path(chunk), columns=columns, partitioning=None).to_pylist()

    def _path(self, chunk: int) -> Path:
        return self._folder / f"{chunk // _A_FOLDER:04d}" / f"part-{chunk:06d}.parquet"


@final
class Failures:
    """failures.csv: written again from the parts when a run begins and when it ends, and added to in between.

    Args:
        path: of the file.
        parts: of the screen.
    """

    def __init__(self, path: Path, parts: Parts) -> None:
        self._path, self._parts = path, parts
        self.count = 0
        self.rewrite()

    def rewrite(self) -> None:
        """From the parts, in the order of the library."""
        partial = self._path.with_name(f"{self._path.name}.part")
        self.count = 0
        with partial.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(_OF_FAILURES)
            for row in self._parts.rows([*_OF_FAILURES, "status"]):
                if row["status"] == "failed":
                    writer.writerow([row[name] for name in _OF_FAILURES])
                    self.count += 1
        partial.replace(self._path)

    def add(self, rows: Sequence[Row]) -> None:
        """The failures of a chunk that was just kept."""
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file)
            for row in rows:
                if row.status == "failed":
                    writer.writerow([getattr(row, name) for name in _OF_FAILURES])
                    self.count += 1


def write_best(folder: Path, parts: Parts, count: int) -> int:
    """best.sdf, the best poses of the `count` best ligands, best first, and best.csv, the same as a table.

    Of equal scores the earlier row is better. Returns how many there are.
    """
    names = [field.name for field in fields(Row)]
    scored = ((row["score"], -row["row"], row) for row in parts.rows(names) if row["status"] == "docked")
    best = [row for _, _, row in heapq.nlargest(count, scored, key=lambda found: found[:2])]
    sdf, table = folder / "best.sdf", folder / "best.csv"
    kinds = sorted({part for row in best for part, _ in row["parts"]})
    columns = ("rank", "row", "name", "smiles", "score", *(f"score_{kind}" for kind in kinds), "cluster_size", "poses")
    partial = [path.with_name(f"{path.name}.part") for path in (sdf, table)]
    with Chem.SDWriter(str(partial[0])) as poses, partial[1].open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for rank, row in enumerate(best, start=1):
            scores = {"score": row["score"], **{f"score_{kind}": value for kind, value in row["parts"]}}
            values = {**row, **{name: f"{value:.4f}" for name, value in scores.items()}, "rank": rank}
            writer.writerow([values.get(name, "") for name in columns])
            mol = posed_from_smiles(row["smiles"], row["pose"])
            mol.SetProp("_Name", row["name"] or f"row {row['row']}")
            for name in columns:
                if name != "name":
                    mol.SetProp(name, str(values.get(name, "")))
            poses.write(mol)
    for path, old in zip((sdf, table), partial, strict=True):
        old.replace(path)
    return len(best)


def posed_from_smiles(smiles: str, pose: Sequence[float]) -> Chem.Mol:
    """The molecule of a row with its atoms where they were docked (3 A numbers, Å)."""
    mol = Chem.MolFromSmiles(smiles)
    conformer = Chem.Conformer(mol.GetNumAtoms())
    for index, xyz in enumerate(np.asarray(pose, dtype=np.float64).reshape(-1, 3).tolist()):
        conformer.SetAtomPosition(index, Point3D(*xyz))
    conformer.Set3D(True)
    mol.AddConformer(conformer)
    return mol
