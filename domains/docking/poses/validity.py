"""Are poses physically plausible? The checks of PoseBusters (Buttenschoen et al. 2024, doi 10.1039/D3SC04185A).

The configuration is PoseBusters' "redock" without the RMSD: its PB-valid. The molecule that a pose must have the atoms,
bonds and stereochemistry of is the input ligand, so that no bound pose is needed and validity says nothing about being
near to one.

The protein is the one that the network saw: without a copy of the ligand, waters and additives, in one conformation.

Two things make it affordable and change no verdict. Of the protein, PoseBusters looks only at heavy atoms within 6 Å of
the pose; it gets those within 8 Å. And modules that decide nothing are left out: version 0.6.5 lists the energy
ratio twice.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from posebusters import PoseBusters
from rdkit import Chem, rdBase

from domains.docking.poses import timed_pool
from domains.docking.poses.files import posed
from domains.docking.poses.timed_pool import Failure
from domains.docking.structures.complexes import Complex
from domains.docking.structures.protein import Protein

_REACH = 8.0  # Å; PoseBusters' search_distance is 6 Å


@dataclass(frozen=True)
class Validity:
    """What PoseBusters says about one pose.

    valid      whether no check failed; None if they did not come to an end.
    failed     names of the checks that the pose fails.
    undecided  names of the checks that could not be run (a force field without parameters for an atom, say). They do
               not make a pose invalid, as in PoseBusters' own summary.
    reason     why there is no answer, empty if there is one.
    """

    valid: bool | None
    failed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    reason: str = ""


def check_all(
    jobs: Sequence[tuple[Complex, NDArray[Any]]],
    processes: int = 2,
    timeout_s: float = 60.0,
    on_pose: Callable[[int, int], None] | None = None,
) -> list[list[Validity]]:
    """PoseBusters on poses, in worker processes, which are killed when one pose takes too long.

    A ligand's first pose in a worker costs most, for the energies of 50 conformers, so give all poses of a complex in
    one job. After two poses of a job that took too long its rest is given up.

    Args:
        jobs: a complex and its poses (n, A, 3), Å, in the protein's frame. A pose that is not finite is invalid.
        processes: number of workers; they are spawned, see :func:`timed_pool.run`.
        timeout_s: seconds for each pose.
        on_pose: called as `on_pose(done, total)` as poses are checked; those not finite are not counted.

    Returns:
        For each job one answer a pose.

    Raises:
        ValueError: if positions do not fit the ligand, or `processes` or `timeout_s` is not positive.
        RuntimeError: if a worker does not start.
    """
    for complex_, positions in jobs:
        if positions.ndim != 3 or positions.shape[1:] != (complex_.ligand.n_atoms, 3):
            shape = f"(n, {complex_.ligand.n_atoms}, 3)"
            raise ValueError(f"positions of {complex_.name} must have shape {shape}, got {positions.shape}")
    finite = [np.isfinite(positions).all((1, 2)) for _, positions in jobs]
    tasks = [
        [_task(complex_.ligand.mol, pose, complex_.protein) for pose in positions[kept]]
        for (complex_, positions), kept in zip(jobs, finite, strict=True)
    ]
    answers = timed_pool.run(_prepare, tasks, processes, timeout_s, on_pose)
    return [_merge(kept, answered) for kept, answered in zip(finite, answers, strict=True)]


def _merge(finite: NDArray[np.bool_], answers: Sequence[Validity | Failure]) -> list[Validity]:
    remaining = iter(answers)
    not_finite = Validity(False, ("Finite coordinates",))
    return [_validity(next(remaining)) if kept else not_finite for kept in finite]


def _validity(answer: Validity | Failure) -> Validity:
    return Validity(None, reason=answer.reason) if isinstance(answer, Failure) else answer


class _Task(NamedTuple):
    pose: Chem.Mol
    ligand: Chem.Mol
    protein: str


def _task(ligand: Chem.Mol, pose: NDArray[Any], protein: Protein) -> _Task:
    return _Task(posed(ligand, pose), ligand, protein.pdb_block(pose, _REACH))


def _prepare() -> Callable[[_Task], Validity]:
    """In a worker: the function that checks one pose."""
    logging.disable(logging.CRITICAL)
    rdBase.DisableLog("rdApp.*")
    busters = PoseBusters(_configuration())

    def check(task: _Task) -> Validity:
        protein = Chem.MolFromPDBBlock(task.protein, sanitize=False, removeHs=False, proximityBonding=False)
        if protein is None:
            raise ValueError("RDKit cannot read the protein's atoms around the pose")
        verdicts = busters.bust(task.pose, task.ligand, protein).iloc[0].to_dict()
        undecided = tuple(name for name, passed in verdicts.items() if not isinstance(passed, bool | np.bool_))
        failed = tuple(name for name, passed in verdicts.items() if name not in undecided and not passed)
        return Validity(not failed, failed, undecided)

    return check


def _configuration() -> dict[str, Any]:
    """PoseBusters' "redock" without the RMSD and without modules that decide nothing, one thread a worker."""
    configuration: dict[str, Any] = PoseBusters("redock").config
    modules = [m for m in configuration["modules"] if m["function"] != "rmsd" and m.get("chosen_binary_test_output")]
    for module in modules:
        if module["function"] == "energy_ratio":
            module["parameters"]["num_threads"] = 1
    return configuration | {"modules": modules}
