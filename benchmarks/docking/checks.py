"""PoseBusters on the docked poses of all methods, in few calls: its workers are slow to start."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.store import Store
from benchmarks.docking.pose_rows import Positions
from domains.docking.poses.validity import Validity, check_all
from domains.docking.structures.complexes import Complex
from ld3.fingerprint import fingerprint

_AT_ONCE = 256  # poses of a call: what a kill can lose


def check_docked(
    complexes: Sequence[Complex],
    docked: Mapping[str, Positions],
    poses: int,
    store: Store,
    on_pose: Callable[[int], None],
) -> dict[str, dict[str, list[Validity]]]:
    """PoseBusters on `poses` of each method, spread evenly over the complexes: the first ones of each.

    Args:
        complexes: that were docked.
        docked: key of a method -> its poses.
        poses: how many.
        store: of verdicts.
        on_pose: called with how many poses have been checked since the last call.

    Returns:
        Key of a method -> complex -> verdicts on its first poses.
    """
    verdicts: dict[str, dict[str, list[Validity]]] = {key: {} for key in docked}
    waiting: list[tuple[Complex, str, NDArray[np.float32]]] = []
    for complex_, count in zip(complexes, spread(poses, len(complexes)), strict=True):
        for key, positions in docked.items() if count else ():
            first = positions[complex_.name][:count]
            kept = store.json(_name(complex_, first))
            if kept is None:
                waiting.append((complex_, key, first))
            else:
                verdicts[key][complex_.name] = [_validity(row) for row in kept]
        if waiting and (sum(len(own) for *_, own in waiting) >= _AT_ONCE or complex_ is complexes[-1]):
            for (found, key, own), answers in zip(waiting, _check(waiting, on_pose), strict=True):
                verdicts[key][found.name] = answers
                store.put_json(_name(found, own), [asdict(answer) for answer in answers])
            waiting = []
    return verdicts


def spread(total: int, places: int) -> list[int]:
    """`total` things dealt to `places` as evenly as can be."""
    return [(k + 1) * total // places - k * total // places for k in range(places)]


def _check(
    waiting: Sequence[tuple[Complex, str, NDArray[np.float32]]], on_pose: Callable[[int], None]
) -> list[list[Validity]]:
    """One job a complex, for its first pose costs most."""
    jobs: dict[str, tuple[Complex, list[NDArray[np.float32]]]] = {}
    for complex_, _, own in waiting:
        jobs.setdefault(complex_.name, (complex_, []))[1].append(own)
    before = 0

    def progress(done: int, total: int) -> None:
        nonlocal before
        on_pose(done - before)
        before = done

    joined = [(complex_, np.concatenate(own)) for complex_, own in jobs.values()]
    answers = check_all(joined, processes=os.cpu_count() or 1, on_pose=progress)
    left = dict(zip(jobs, map(iter, answers), strict=True))
    return [[next(left[complex_.name]) for _ in own] for complex_, _, own in waiting]


def _name(complex_: Complex, poses: NDArray[np.float32]) -> str:
    ligand = complex_.ligand
    molecule = (ligand.atom_features.tobytes(), ligand.bond_index.tobytes(), ligand.bond_type.tobytes())
    protein = complex_.protein.pdb_lines.tobytes()
    return f"valid-{fingerprint(version('posebusters'), protein, molecule, torch.from_numpy(poses))}"


def _validity(row: Mapping[str, object]) -> Validity:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Validity(**fields)  # type: ignore[arg-type]
