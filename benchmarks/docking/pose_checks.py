"""PoseBusters on the docked poses of all methods, in few calls: its workers are slow to start."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common.store import Store
from benchmarks.docking.methods import Docked
from domains.docking.poses.validity import Validity, check_all
from domains.docking.structures.complexes import Complex
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint

CHECK_WORK = 100.0  # network evaluations that take about as long as one pose does here

_AT_ONCE = 256  # poses of a call: what a kill can lose


def check_docked(
    complexes: Sequence[Complex], runs: Mapping[str, Docked], poses: int, store: Store, bar: WorkProgress
) -> dict[tuple[str, str], list[Validity]]:
    """`poses` of each run, spread evenly over the complexes: the first ones of each.

    Args:
        complexes: that were docked.
        runs: key of a method -> its poses.
        poses: how many.
        store: of verdicts.
        bar: told of the work.

    Returns:
        (complex, key of the method) -> verdicts on the first poses.
    """
    counts = spread(poses, len(complexes))
    verdicts: dict[tuple[str, str], list[Validity]] = {}
    waiting: list[tuple[Complex, dict[str, NDArray[np.float32]]]] = []
    for complex_, count in zip(complexes, counts, strict=True):
        missing: dict[str, NDArray[np.float32]] = {}
        for key, docked in runs.items() if count else ():
            first = docked.positions[complex_.name][:count]
            kept = store.json(_name(complex_, first))
            if kept is None:
                missing[key] = first
            else:
                verdicts[complex_.name, key] = [_validity(row) for row in kept]
        waiting += [(complex_, missing)] if missing else []
        if waiting and (sum(len(p) for _, m in waiting for p in m.values()) >= _AT_ONCE or complex_ is complexes[-1]):
            verdicts |= _check(waiting, store, bar)
            waiting = []
    return verdicts


def spread(total: int, places: int) -> list[int]:
    """`total` things dealt to `places` as evenly as can be."""
    return [(k + 1) * total // places - k * total // places for k in range(places)]


def _check(
    jobs: Sequence[tuple[Complex, Mapping[str, NDArray[np.float32]]]], store: Store, bar: WorkProgress
) -> dict[tuple[str, str], list[Validity]]:
    joined = [(complex_, np.concatenate(list(poses.values()))) for complex_, poses in jobs]
    before = 0

    def on_pose(done: int, total: int) -> None:
        nonlocal before
        bar.advance(CHECK_WORK * (done - before))
        before = done

    answers = check_all(joined, processes=os.cpu_count() or 1, on_pose=on_pose)
    found: dict[tuple[str, str], list[Validity]] = {}
    for (complex_, poses), answered in zip(jobs, answers, strict=True):
        rest = answered
        for key, own in poses.items():
            found[complex_.name, key], rest = rest[: len(own)], rest[len(own) :]
            store.put_json(_name(complex_, own), [asdict(verdict) for verdict in found[complex_.name, key]])
    return found


def _name(complex_: Complex, poses: NDArray[np.float32]) -> str:
    ligand = complex_.ligand
    molecule = (ligand.atom_features.tobytes(), ligand.bond_index.tobytes(), ligand.bond_type.tobytes())
    protein = complex_.protein_path.read_bytes()
    return f"valid-{fingerprint(version('posebusters'), protein, molecule, torch.from_numpy(poses))}"


def _validity(row: Mapping[str, object]) -> Validity:
    fields = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return Validity(**fields)  # type: ignore[arg-type]
