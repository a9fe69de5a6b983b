"""What happens to a chunk: conformers in worker processes, docking, one row a record. All engines share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, final

import numpy as np
from numpy.typing import NDArray

from domains.docking.engine import dock
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import clusters
from domains.docking.poses.timed_pool import Failure, Pool
from domains.docking.ranking.consensus import CUTOFF, symmetries
from domains.docking.ranking.ranker import Ranker
from domains.docking.refine.local import Refinement
from domains.docking.samplers import Sampler
from domains.docking.screen.chunks import Chunk, Item
from domains.docking.screen.conformers import Recipe, prepare
from domains.docking.screen.receptor import Receptor
from domains.docking.structures.complexes import Complex
from domains.docking.structures.ligand import Ligand
from domains.errors import InputError
from domains.exits import out_of_memory
from domains.seeds import seed_of

_RDKIT_SEEDS: Final = 2**31


@final
@dataclass(frozen=True)
class Job:
    """All that a row depends on, beside the record itself.

    Attributes:
        receptor: what is docked into.
        model: on its device.
        sampler: from noise to a pose.
        grid: what results call it.
        refinement: moves poses out of clashes, before they are ranked.
        ranker: of the refined poses of a ligand.
        samples: poses a ligand.
        seed: of conformers and poses.
        patience: seconds for a ligand's conformer.
    """

    receptor: Receptor
    model: DockingModel
    sampler: Sampler
    grid: str
    refinement: Refinement | None
    ranker: Ranker
    samples: int
    seed: int
    patience: float


Status = Literal["docked", "duplicate", "failed"]


@final
@dataclass(frozen=True)
class Row:
    """What becomes of a record.

    Attributes:
        row: in the library, from 1.
        name, given: as the library has them.
        smiles: what was docked; "" if nothing was.
        status: docked, duplicate (of the row `duplicate_of`), or failed (for `reason`).
        remarks: about how the record was read.
        score: of the best pose, by the ranker; higher is better.
        parts: that it is made of.
        cluster_size: poses within 2 Å of the best one's cluster, itself included.
        poses: that are finite.
        seconds: of docking and ranking, the chunk's batches shared among their ligands.
        grid: that was followed.
        pose: x, y, z of the best pose, Å, in the protein's frame, for the atoms of `smiles` in their order.
    """

    row: int
    name: str
    given: str
    smiles: str
    status: Status
    duplicate_of: int | None = None
    reason: str = ""
    remarks: str = ""
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    cluster_size: int | None = None
    poses: int | None = None
    seconds: float | None = None
    grid: str = ""
    pose: tuple[float, ...] = ()


class Cancelled(Exception):
    """The chunk was given up because somebody wants to stop."""


@final
class ChunkWorker:
    """Works on chunks, whichever thread asks: one chunk is docked while the conformers of the next are made.

    Args:
        job: see :class:`Job`.
        processes: that make conformers.
    """

    def __init__(self, job: Job, processes: int) -> None:
        self._job = job
        self._pool: Pool[Recipe, Ligand] = Pool(prepare, processes, job.patience)
        self._preparing, self._docking = threading.Lock(), threading.Lock()
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """Give up the chunks at work, between two ligands or two steps: :meth:`process` raises :class:`Cancelled`."""
        self._cancelled.set()

    def stop(self) -> None:
        """End the processes, when no chunk is at work."""
        self._pool.stop()

    def _check(self, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def process(self, chunk: Chunk) -> list[Row]:
        """One row for each record of the chunk, in order; a function of the job and the chunk, `seconds` apart."""
        items = {item.row: item for item in chunk.items}
        todo = [item for item in chunk.items if item.molecule is not None and item.duplicate_of is None]
        with self._preparing:
            answers = self._pool.run([[self._recipe(item)] for item in todo], self._check)
        rows = {item.row: row for item in chunk.items if (row := _without_docking(item)) is not None}
        ligands: dict[int, Ligand] = {}
        for item, (answer,) in zip(todo, answers, strict=True):
            if isinstance(answer, Failure):
                rows[item.row] = _failed(item, answer.reason)
            else:
                ligands[item.row] = answer
        with self._docking:
            self._check(0, 0)
            for number, ranked in self._dock(ligands).items():
                item = items[number]
                rows[number] = _failed(item, ranked) if isinstance(ranked, str) else ranked.row_of(item, self._job)
        return [rows[item.row] for item in chunk.items]

    def _recipe(self, item: Item) -> Recipe:
        assert item.molecule is not None
        key = item.molecule.key.hex()
        return Recipe(item.molecule.smiles, key, seed_of(self._job.seed, "conformer", key) % _RDKIT_SEEDS)

    def _dock(self, ligands: Mapping[int, Ligand]) -> dict[int, _Ranked | str]:
        """Row -> the best pose, or why there is none."""
        receptor = self._job.receptor
        complexes = {
            row: Complex(ligand.name, ligand, receptor.pocket, None, receptor.protein)
            for row, ligand in ligands.items()
        }
        if not complexes:
            return {}
        try:
            return self._docked(complexes)
        except (ValueError, RuntimeError, InputError):
            return {row: self._alone(row, complex_) for row, complex_ in complexes.items()}

    def _alone(self, row: int, complex_: Complex) -> _Ranked | str:
        """A ligand by itself, after its batch failed: one that cannot be docked must not take the others along."""
        try:
            return self._docked({row: complex_})[row]
        except (ValueError, RuntimeError, InputError) as error:
            if out_of_memory(error):
                raise  # it says nothing about the ligand
            return f"docking failed: {' '.join(str(error).split())}"

    def _docked(self, complexes: Mapping[int, Complex]) -> dict[int, _Ranked | str]:
        job, began = self._job, time.perf_counter()
        poses = dock(
            job.model,
            list(complexes.values()),
            job.sampler,
            samples=job.samples,
            seed=job.seed,
            on_progress=self._check,
        )
        share = (time.perf_counter() - began) / len(complexes)
        found: dict[int, _Ranked | str] = {}
        for row, complex_ in complexes.items():
            began = time.perf_counter()
            positions = poses.positions[complex_.name]
            positions = positions[np.isfinite(positions).all((1, 2))]
            if len(positions):
                best = _best(job, complex_, positions)
                found[row] = best.after(share + time.perf_counter() - began)
            else:
                found[row] = "no pose is finite"
        return found


@final
@dataclass(frozen=True, eq=False)
class _Ranked:
    score: float
    parts: Mapping[str, float]
    cluster_size: int
    poses: int
    pose: NDArray[np.float32]
    seconds: float = 0.0

    def after(self, seconds: float) -> _Ranked:
        return _Ranked(self.score, self.parts, self.cluster_size, self.poses, self.pose, seconds)

    def row_of(self, item: Item, job: Job) -> Row:
        assert item.molecule is not None
        return Row(
            item.row,
            item.name,
            item.given,
            item.molecule.smiles,
            "docked",
            remarks="; ".join(item.molecule.remarks),
            score=self.score,
            parts=self.parts,
            cluster_size=self.cluster_size,
            poses=self.poses,
            seconds=self.seconds,
            grid=job.grid,
            pose=tuple(self.pose.ravel().tolist()),
        )


def _best(job: Job, complex_: Complex, positions: NDArray[np.float32]) -> _Ranked:
    if job.refinement is not None:
        positions = job.refinement(complex_, positions).positions
    scores = job.ranker.rank(complex_, positions)
    best = int(scores.order[0])
    cluster = clusters(positions, symmetries(complex_), CUTOFF)
    return _Ranked(
        float(scores.score[best]),
        {name: float(part[best]) for name, part in scores.parts.items()},
        int((cluster == cluster[best]).sum()),
        len(positions),
        positions[best],
    )


def _without_docking(item: Item) -> Row | None:
    """The row of a record that is not docked; None for one that is."""
    if item.molecule is None:
        return _failed(item, item.reason)
    if item.duplicate_of is None:
        return None
    remarks = "; ".join(item.molecule.remarks)
    return Row(item.row, item.name, item.given, item.molecule.smiles, "duplicate", item.duplicate_of, remarks=remarks)


def _failed(item: Item, reason: str) -> Row:
    molecule = item.molecule
    smiles, remarks = (molecule.smiles, "; ".join(molecule.remarks)) if molecule else ("", "")
    return Row(item.row, item.name, item.given, smiles, "failed", None, reason, remarks)
