"""What happens to a chunk: conformers in worker processes, docking, one row a record. All engines share it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, final

from domains.docking.poses.timed_pool import Failure, Pool
from domains.docking.ranked_docking import Cancelled, DockPlan, dock_ranked
from domains.docking.ranked_poses import RankedPoses
from domains.docking.screen.chunks import Chunk, Item
from domains.docking.screen.conformers import Form, Recipe, prepare
from domains.docking.screen.receptor import Receptor
from domains.docking.structures.complexes import Complex
from domains.docking.structures.isomers import Stereo
from domains.errors import InputProblem
from domains.exits import out_of_memory


@final
@dataclass(frozen=True)
class Job:
    """All that a row depends on, beside the record itself.

    Attributes:
        receptor: what is docked into.
        plan: how each ligand is docked and ranked.
        stereo: of a SMILES that leaves it open: one form is docked, or all are and the row has the best.
        patience: seconds for a ligand's conformers.
    """

    receptor: Receptor
    plan: DockPlan
    stereo: Stereo
    patience: float


Status = Literal["docked", "duplicate", "failed"]


@final
@dataclass(frozen=True)
class Row:
    """What becomes of a record.

    Attributes:
        row: in the library, from 1.
        name, given: as the library has them.
        smiles: what was docked, of several isomers the best; "" if nothing was.
        status: docked, duplicate (of the row `duplicate_of`), or failed (for `reason`).
        remarks: about how the record was read.
        isomers: that were docked; None if nothing was.
        score: of the best pose, by the ranker; higher is better.
        parts: that it is made of.
        cluster_size: poses in the best one's cluster at 2 Å, itself included.
        poses: that are finite.
        seconds: of docking and ranking all isomers, the chunk's batches shared among their ligands.
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
    isomers: int | None = None
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    cluster_size: int | None = None
    poses: int | None = None
    seconds: float | None = None
    grid: str = ""
    pose: tuple[float, ...] = ()


@final
class ChunkWorker:
    """Works on chunks, whichever thread asks: one chunk is docked while the conformers of the next are made.

    Args:
        job: see :class:`Job`.
        processes: that make conformers.
    """

    def __init__(self, job: Job, processes: int) -> None:
        self._job = job
        self._pool: Pool[Recipe, list[Form]] = Pool(prepare, processes, job.patience)
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
        rows = {item.row: row for item in chunk.items if (row := _without_docking(item)) is not None}
        todo = [item for item in chunk.items if item.row not in rows]
        with self._preparing:
            answers = self._pool.run([[self._recipe(item)] for item in todo], self._check)
        forms: dict[int, list[Form]] = {}
        for item, (answer,) in zip(todo, answers, strict=True):
            if isinstance(answer, Failure):
                rows[item.row] = _failed(item, answer.reason)
            else:
                forms[item.row] = answer
        with self._docking:
            self._check(0, 0)
            found = self._docked([form for own in forms.values() for form in own])
        for item in todo:
            if item.row in forms:
                rows[item.row] = _best_row(item, [(form, found[form.key]) for form in forms[item.row]])
        return [rows[item.row] for item in chunk.items]

    def _recipe(self, item: Item) -> Recipe:
        assert item.molecule is not None
        plan = self._job.plan
        return Recipe(item.molecule.smiles, plan.seed, plan.conformers, self._job.stereo)

    def _docked(self, forms: Sequence[Form]) -> dict[str, RankedPoses | InputProblem]:
        """Key of a form -> its poses, or why there are none; forms that several ligands share are docked once."""
        receptor, plan = self._job.receptor, self._job.plan
        made = {form.key: form.ligands for form in forms}
        complexes = [Complex(key, ligands[0], receptor.pocket, None, receptor.protein) for key, ligands in made.items()]
        usable, problems = plan.model.prepare(complexes)
        found: dict[str, RankedPoses | InputProblem] = {problem.file: problem for problem in problems}
        # A full memory says nothing about the ligand.
        for one in dock_ranked(plan, usable, self._check, made=made, is_fatal=out_of_memory):
            found[one.file if isinstance(one, InputProblem) else one.complex.name] = one
        return found


def _best_row(item: Item, found: Sequence[tuple[Form, RankedPoses | InputProblem]]) -> Row:
    """The row of a ligand of which one or more isomers were docked; of equal scores the earlier isomer's."""
    assert item.molecule is not None
    docked = [(form, poses) for form, poses in found if isinstance(poses, RankedPoses)]
    remarks = list(item.molecule.remarks)
    for form, problem in found:
        if isinstance(problem, InputProblem):
            if len(found) == 1:
                return _failed(item, f"{problem.message}; {problem.remedy}")
            remarks.append(f"{form.smiles} was not docked ({problem.message})")
    if not docked:
        return _failed(item, "; ".join(remarks[len(item.molecule.remarks) :]))
    form, poses = max(docked, key=lambda own: float(own[1].scores.score[0]))
    remarks += form.ligands[0].remarks
    if len(docked) > 1:
        remarks.append(f"the best of {len(docked)} stereoisomers")
    scores = poses.scores
    return Row(
        item.row,
        item.name,
        item.given,
        form.smiles,
        "docked",
        remarks="; ".join(remarks),
        isomers=len(docked),
        score=float(scores.score[0]),
        parts={name: float(part[0]) for name, part in scores.parts.items()},
        cluster_size=poses.best_cluster_size,
        poses=len(poses),
        seconds=sum(sum(own.seconds.values()) for _, own in docked),
        grid=poses.tags["grid"],
        pose=tuple(poses.positions[0].ravel().tolist()),
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
