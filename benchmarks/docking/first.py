"""The pose that a user would look at: refined and ranked first as `ld3 dock` ships, and that of AutoDock Vina."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.comparison import Bounds
from benchmarks.common.store import Store
from benchmarks.common.tables import Table, decimal, percent, percent_range
from benchmarks.docking.checks import check_docked
from benchmarks.docking.methods import Method
from benchmarks.docking.pose_rows import Positions
from domains.bootstrap import bootstrap_interval
from domains.docking.dock_files import ranker_of
from domains.docking.dock_options import DockOptions
from domains.docking.engine import dock_groups, make_groups
from domains.docking.networks.weights import DockingModel
from domains.docking.poses.metrics import symmetric_rmsd
from domains.docking.ranking.combination import Combination
from domains.docking.ranking.consensus import symmetries
from domains.docking.refine.local import Refinement
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket import PocketChoice
from ld3.fingerprint import fingerprint

VINA: Final = "vina"
EXHAUSTIVENESS: Final = 8

FIRST_CAPTION: Final = (
    "the first pose of each complex, refined and ranked as ld3 dock ships; valid: share of those checked that pass "
    "PoseBusters; valid and < 2 Å: of the same; CPU s: of all poses of a ligand, docking (measured on one complex of "
    "median size), refining and ranking; vina: AutoDock Vina, the same proteins, conformers and pockets"
)

Group = Callable[[str], str]
"""Complex -> what it is drawn with in intervals."""


@dataclass(frozen=True)
class FirstRow:
    """First poses of one method; rates are shares of complexes with a known pose, with 95% intervals.

    Attributes:
        method, nfe: that docked; "vina" has no evaluations.
        complexes, checked: how many, and of how many PoseBusters was asked.
        first_2A: first pose within 2 Å.
        valid: that pass PoseBusters, of those checked.
        valid_2A: that do both, of those checked.
        cpu_seconds: a ligand.
    """

    method: str
    nfe: int
    complexes: int
    checked: int
    first_2A: float
    first_2A_ci: Bounds
    valid: float | None
    valid_2A: float | None
    valid_2A_ci: Bounds
    cpu_seconds: float


@dataclass(frozen=True, eq=False)
class FirstPose:
    """Of one complex: (A, 3) Å, its RMSD to the bound pose, and the CPU seconds that it took after docking."""

    position: NDArray[np.float32]
    rmsd: float
    cpu_seconds: float


def first_rows(
    model: DockingModel,
    complexes: Sequence[Complex],
    methods: Sequence[Method],
    docked: Mapping[str, Positions],
    checked: int,
    store: Store,
    group: Group,
    on_pose: Callable[[int], None],
) -> list[FirstRow]:
    """A row for each method.

    Args:
        model: that docked.
        complexes: with known poses.
        methods: whose poses are ranked.
        docked: key of a method -> its poses.
        checked: complexes whose first pose PoseBusters checks.
        store: of what was computed.
        group: what is drawn together in intervals.
        on_pose: told how many poses have been ranked or checked since.
    """
    rows = []
    for method in methods:
        firsts: dict[str, FirstPose | None] = {
            found.name: _first(model, found, docked[method.key][found.name], store) for found in complexes
        }
        on_pose(len(complexes))
        seconds = float(np.mean([own.cpu_seconds for own in firsts.values() if own is not None] or [0.0]))
        samples = len(docked[method.key][complexes[0].name])
        took = seconds + _docking_seconds(model, complexes, method, samples)
        rows.append(_row(method.name, method.nfe, complexes, firsts, took, checked, store, group, on_pose))
    return rows


def vina_row(
    complexes: Sequence[Complex],
    choice: PocketChoice,
    seed: int,
    checked: int,
    store: Store,
    group: Group,
    on_pose: Callable[[int], None],
) -> FirstRow:
    """AutoDock Vina on the same complexes, one core.

    Args:
        complexes: with known poses.
        choice: of the pocket, for Vina's box.
        seed: of Vina.
        checked, store, group, on_pose: as for :func:`first_rows`.
    """
    from benchmarks.docking.vina import dock_by_vina

    firsts: dict[str, FirstPose | None] = {}
    for found in complexes:
        key = f"vina-{fingerprint(_structure(found), choice, EXHAUSTIVENESS, seed)}"
        kept = store.json(key)
        if kept is None:
            poses = dock_by_vina(found, EXHAUSTIVENESS, 1, seed + 1, choice)
            kept = {"pose": poses.positions[0].tolist(), "cpu_seconds": poses.cpu_seconds}
            store.put_json(key, kept)
        firsts[found.name] = _compared(found, np.array(kept["pose"], dtype=np.float32), kept["cpu_seconds"])
        on_pose(1)
    took = float(np.mean([own.cpu_seconds for own in firsts.values() if own is not None]))
    return _row(VINA, 0, complexes, firsts, took, checked, store, group, on_pose)


def first_table(rows: Sequence[FirstRow]) -> Table:
    """One line a method."""
    headings = (
        "method",
        "NFE",
        "complexes",
        "first < 2 Å",
        "95%",
        "checked",
        "valid",
        "valid and < 2 Å",
        "95%",
        "CPU s",
    )
    cells = [
        (
            row.method,
            str(row.nfe) if row.nfe else "-",
            str(row.complexes),
            percent(row.first_2A),
            percent_range(row.first_2A_ci),
            str(row.checked),
            percent(row.valid),
            percent(row.valid_2A),
            percent_range(row.valid_2A_ci),
            decimal(row.cpu_seconds, 1),
        )
        for row in rows
    ]
    return Table(headings, cells)


def _first(model: DockingModel, found: Complex, poses: NDArray[np.float32], store: Store) -> FirstPose | None:
    """None if all poses failed."""
    sound = poses[np.isfinite(poses).all((1, 2))]
    if not len(sound):
        return None
    ranker = ranker_of(DockOptions(), model)
    ordered_by = ranker.name, dict(ranker.weights) if isinstance(ranker, Combination) else {}
    key = f"first-{fingerprint(_structure(found), sound.tobytes(), fingerprint(model.network), ordered_by)}"
    kept = store.json(key)
    if kept is None:
        began = time.process_time()
        refined = Refinement()(found, sound).positions
        best = int(ranker.rank(found, refined).order[0])
        kept = {"pose": refined[best].tolist(), "cpu_seconds": time.process_time() - began}
        store.put_json(key, kept)
    return _compared(found, np.array(kept["pose"], dtype=np.float32), kept["cpu_seconds"])


def _compared(found: Complex, pose: NDArray[np.float32], seconds: float) -> FirstPose:
    assert found.reference is not None
    return FirstPose(pose, float(symmetric_rmsd(pose[None], found.reference, symmetries(found))[0]), seconds)


def _docking_seconds(model: DockingModel, complexes: Sequence[Complex], method: Method, samples: int) -> float:
    """CPU seconds of docking the complex of median size once more."""
    order = sorted(complexes, key=lambda found: (found.ligand.n_atoms, found.name))
    own = replace(model, score_scale=method.score_scale)
    groups = make_groups(own, [order[len(order) // 2]], samples, seed=0)
    began = time.process_time()
    dock_groups(groups, method.sampler)
    return time.process_time() - began


def _row(
    name: str,
    nfe: int,
    complexes: Sequence[Complex],
    firsts: Mapping[str, FirstPose | None],
    seconds: float,
    checked: int,
    store: Store,
    group: Group,
    on_pose: Callable[[int], None],
) -> FirstRow:
    """A complex without a pose has none within 2 Å and none that is valid."""
    sound = [found for found in complexes if firsts[found.name] is not None]
    poses = {c.name: own.position[None] for c in sound if (own := firsts[c.name]) is not None}
    near = {c.name: (own := firsts[c.name]) is not None and own.rmsd < 2.0 for c in complexes}
    some = check_docked(sound, {name: poses}, min(checked, len(sound)), store, on_pose)[name] if sound else {}
    valid = {complex_: verdicts[0].valid is True for complex_, verdicts in some.items()}

    def interval(values: Mapping[str, bool]) -> tuple[float | None, Bounds]:
        groups: dict[str, list[float]] = {}
        for complex_, value in values.items():
            groups.setdefault(group(complex_), []).append(float(value))
        if not groups:
            return None, None
        found = bootstrap_interval([np.array(own) for own in groups.values()], "mean", seed=0)
        return found.estimate, (found.low, found.high)

    first, first_ci = interval(near)
    both, both_ci = interval({complex_: value and near[complex_] for complex_, value in valid.items()})
    assert first is not None
    passed = float(np.mean(list(valid.values()))) if valid else None
    return FirstRow(name, nfe, len(complexes), len(valid), first, first_ci, passed, both, both_ci, seconds)


def _structure(found: Complex) -> str:
    ligand = found.ligand
    molecule = (ligand.positions.tobytes(), ligand.atom_features.tobytes(), ligand.bond_index.tobytes())
    return fingerprint(found.name, molecule, found.protein.pdb_lines.tobytes(), found.reference is not None)
