"""Docks complexes: groups of similar size, starts of pure noise, any sampler, poses in the protein's frame.

A pose is a function of (weights, complex, seed, sample number, method): its start and the noise of stochastic samplers
come from generators of its own. What is docked beside it changes its coordinates by rounding alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from domains.docking.docked_poses import DockedPoses
from domains.docking.networks.weights import DockingModel, EncodedBatch
from domains.docking.poses.flow import DockingFlow, draw_prior, placed
from domains.docking.poses.pose import Poses
from domains.docking.samplers import Method, Sampler, sampler_of
from domains.docking.settings import poses_at_once
from domains.docking.structures.batch import collate
from domains.docking.structures.complexes import Complex
from domains.errors import InputError
from domains.memory import available_memory
from domains.seeds import seed_of
from ld3.fingerprint import fingerprint
from ld3.learn import Teacher, run_teacher
from ld3.solvers import Noise
from ld3.state import Tangent, cat, take

OnProgress = Callable[[int, int], None]
"""Called as on_progress(network evaluations done, in all)."""


class Cache(Protocol):
    """Where docked poses are kept, so that an interrupted run goes on."""

    def tensors(self, key: str) -> dict[str, Tensor] | None:
        """What was kept under that name, on the CPU; None if nothing was."""

    def put_tensors(self, key: str, value: Mapping[str, Tensor]) -> None:
        """Keep tensors."""


@final
@dataclass(frozen=True, eq=False)
class Group:
    """Complexes of similar size, S poses of each: the poses of the first complex, then those of the second, ...

    Attributes:
        complexes: side by side.
        encoded: the same, as the model sees them.
        start: where every method starts.
        seed: of the run.
        seeds: complex -> seed of its poses.
        at_once: how many poses to solve side by side.
    """

    complexes: tuple[Complex, ...]
    encoded: EncodedBatch
    start: Poses
    seed: int
    seeds: Mapping[str, int]
    at_once: int

    def __len__(self) -> int:
        """Number of poses."""
        return len(self.start.complex_row)

    @property
    def samples(self) -> int:
        """S."""
        return len(self) // len(self.complexes)

    def flow(self, score_scale: float | None = None) -> DockingFlow:
        """At a score scale; the model's if None."""
        return DockingFlow(self.encoded, score_scale)

    def key(self, score_scale: float | None = None) -> str:
        """Hash of all that docking depends on but the method: the flow and the poses that start."""
        return fingerprint(self._hash, self.flow(score_scale).clock)

    @cached_property
    def _hash(self) -> str:
        return fingerprint(self.flow().fingerprint(), *self.start, self.seeds)

    def by_complex(self, positions: Tensor) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Poses (B, A, 3) relative to the pockets as poses (S, A_k, 3), Å, in the frame of each protein."""
        own, origins = positions.cpu().split(self.samples), self.encoded.batch.origin.cpu()
        for found, origin, poses in zip(self.complexes, origins, own, strict=True):
            yield found.name, (poses[:, : found.ligand.n_atoms] + origin).numpy()

    def noise(self, rows: Tensor) -> Noise:
        """For the poses `rows` of a stochastic sampler, each from a generator of its own."""
        poses = [(self.complexes[row // self.samples], row % self.samples) for row in rows.tolist()]
        torsions = [found.ligand.n_torsions for found, _ in poses]
        generators = [
            torch.Generator().manual_seed(seed_of(self.seeds[found.name], "noise", str(i))) for found, i in poses
        ]

        def draw(like: Tangent) -> Tangent:
            out = {factor: torch.zeros(v.shape, dtype=v.dtype) for factor, v in like.items()}
            for i, (generator, n) in enumerate(zip(generators, torsions, strict=True)):
                numbers = torch.randn(6 + n, generator=generator)
                out["tr"][i], out["rot"][i], out["tor"][i, :n] = numbers.split([3, 3, n])
            return {factor: z.to(like[factor]) for factor, z in out.items()}

        return draw


def dock(
    model: DockingModel,
    complexes: Sequence[Complex],
    method: Method,
    *,
    samples: int = 10,
    seed: int = 0,
    at_once: int | None = None,
    cache: Cache | None = None,
    on_progress: OnProgress | None = None,
) -> DockedPoses:
    """Dock each complex `samples` times, on the device of the model's network.

    Args:
        model: at its own score scale, unless the method says another.
        complexes: with names of their own.
        method: a fit, a grid, a number of network evaluations, for the grid that comes with the weights or, where
            none does, the one called edm made by hand; or a sampler.
        samples: poses a complex; the first n of them are the same whatever their number.
        seed: of starts and noise.
        at_once: poses side by side; None = what costs least on the device.
        cache: where finished groups are kept and found again.
        on_progress: see :data:`OnProgress`.

    Raises:
        ValueError: if there is nothing to dock, two complexes share a name, or the method does not go with the model.
        InputError: if the general grid's file is no saved fit, or the model cannot dock a complex.
    """
    sampler = sampler_of(model, method)
    return dock_groups(make_groups(model, complexes, samples, seed, at_once), sampler, cache, on_progress)


def make_groups(
    model: DockingModel, complexes: Sequence[Complex], samples: int, seed: int, at_once: int | None = None
) -> list[Group]:
    """All complexes as the model docks them, sorted by size so that little is padded, with their starts.

    Raises:
        ValueError: if there is nothing to dock, or two complexes share a name.
        InputError: if the model cannot dock one of them; :meth:`DockingModel.prepare` says which.
    """
    at_once = poses_at_once(model.device) if at_once is None else at_once
    for name, value in (("samples", samples), ("at_once", at_once), ("the number of complexes", len(complexes))):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    names = [c.name for c in complexes]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"complexes must have names of their own, got {doubled[0]!r} twice")
    complexes, problems = model.prepare(complexes)
    if problems:
        raise InputError(problems[0])
    at_once = min(at_once, _that_fit(model, complexes))
    width = max(1, at_once // samples)
    order = sorted(complexes, key=size)
    return [_group(model, order[i : i + width], samples, seed, at_once) for i in range(0, len(order), width)]


def _that_fit(model: DockingModel, complexes: Sequence[Complex]) -> int:
    """How many poses of the largest complex fit into half of the memory that is left; at least one."""
    most, left = max(model.network.memory(c) for c in complexes), available_memory(model.device)
    return sys.maxsize if left is None or not most else max(1, left // 2 // most)


def size(complex_: Complex) -> tuple[int, int, str]:
    """Sorts complexes by what a pose costs, and by name."""
    return complex_.ligand.n_atoms, len(complex_.pocket.positions), complex_.name


def _group(model: DockingModel, complexes: Sequence[Complex], samples: int, seed: int, at_once: int) -> Group:
    seeds = {c.name: seed_of(seed, "dock", c.name) for c in complexes}
    encoded = model.encode(collate(complexes))
    start = starts(encoded, complexes, [samples] * len(complexes), seeds)
    return Group(tuple(complexes), encoded, start, seed, seeds, at_once)


def starts(
    encoded: EncodedBatch, complexes: Sequence[Complex], samples: Sequence[int], seeds: Mapping[str, int]
) -> Poses:
    """Pure noise for the complexes of a batch, `samples[k]` poses of the k-th, one complex after the other.

    Each pose has a generator of its own, and is moved by itself in float64 and rounded: it is the same to the last bit
    in every batch.
    """
    atoms = encoded.batch.conformer.shape[1]
    parts = []
    for row, (found, n) in enumerate(zip(complexes, samples, strict=True)):
        alone = collate([found])
        alone = replace(alone, conformer=alone.conformer.double())
        generators = (torch.Generator().manual_seed(seed_of(seeds[found.name], "start", str(i))) for i in range(n))
        torsions, spread = found.ligand.n_torsions, float(encoded.model.start_spread(alone)[0])
        moves = [draw_prior(1, torsions, spread, generator) for generator in generators]
        if n:
            move = {factor: torch.cat([m[factor] for m in moves]) for factor in moves[0]}
            own = placed(alone, torch.zeros(n, dtype=torch.long), move).positions.float()
            padded = torch.nn.functional.pad(own, (0, 0, 0, atoms - own.shape[1]))
            parts.append(Poses(torch.full((n,), row), padded))
    start = cat(parts)
    device = encoded.batch.conformer.device
    return Poses(start.complex_row.to(device), start.positions.to(device))


@torch.no_grad()
def dock_groups(
    groups: Sequence[Group], sampler: Sampler, cache: Cache | None = None, on_progress: OnProgress | None = None
) -> DockedPoses:
    """Take every group from its starts to the end, or from the cache."""
    total, done = sampler.nfe * sum(map(len, groups)), 0

    def count(evaluations: int) -> None:
        nonlocal done
        done += evaluations
        if on_progress is not None:
            on_progress(done, total)

    def solve(group: Group) -> dict[str, Tensor]:
        flow = group.flow(sampler.score_scale)
        ends = []
        began = time.perf_counter()
        for rows in torch.arange(len(group)).chunk(-(-len(group) // group.at_once)):
            start = take(group.start, rows.to(group.start.complex_row.device))
            step = sampler.nfe * len(rows)

            def on_step(i: int, n: int, x: Poses, step: int = step) -> None:
                count(step * i // n - step * (i - 1) // n)

            ends.append(sampler.solve(flow, start, group.noise(rows), on_step).positions)
        positions = torch.cat(ends).cpu()  # waits for a GPU, which the clock has to include
        return {"positions": positions, "seconds": torch.tensor(time.perf_counter() - began)}

    found = []
    for group in groups:
        part, new = _kept(cache, group, sampler.score_scale, sampler.key, solve)
        found.append(part)
        if not new:
            count(sampler.nfe * len(group))
    return _docked(groups, found, sampler.score_scale, {**sampler.settings, "nfe": sampler.nfe})


def dock_by_teacher(
    groups: Sequence[Group], teacher: Teacher, cache: Cache | None = None, on_progress: OnProgress | None = None
) -> tuple[DockedPoses, Tensor]:
    """Where the converged ODE ends, and its disagreement (M,), Å², with the same run at twice the steps.

    The check's `teacher.checked` poses are spread over the groups; it is not part of the time a pose takes.
    """
    own = replace(teacher, checked=-(-teacher.checked // len(groups)))
    totals = [own.nfe * (len(group) + 2 * min(own.checked, len(group))) for group in groups]
    before = 0

    def solve(group: Group) -> dict[str, Tensor]:
        began = time.perf_counter()
        seconds = 0.0

        def count(done: int, total: int) -> None:
            nonlocal seconds
            if done <= own.nfe * len(group):  # the rest is the check
                seconds = time.perf_counter() - began
            if on_progress is not None:
                on_progress(before + done, sum(totals))

        pairs = run_teacher(group.flow(), group.start, own, on_progress=count)
        figures = {"seconds": torch.tensor(seconds), "disagreement": pairs.disagreement}
        return {"positions": pairs.end.positions.cpu(), **figures}

    key, found = fingerprint("teacher", own), []
    for group, total in zip(groups, totals, strict=True):
        found.append(_kept(cache, group, None, key, solve)[0])
        before += total
        if on_progress is not None:
            on_progress(before, sum(totals))
    return _docked(groups, found, None, {"teacher": asdict(own)}), torch.cat([part["disagreement"] for part in found])


def _kept(
    cache: Cache | None,
    group: Group,
    score_scale: float | None,
    method: str,
    solve: Callable[[Group], dict[str, Tensor]],
) -> tuple[dict[str, Tensor], bool]:
    """What docking the group gives, and whether it was computed now."""
    if cache is None:
        return solve(group), True
    key = f"poses-{fingerprint(group.key(score_scale), method)}"
    found = cache.tensors(key)
    if found is not None:
        return found, False
    new = solve(group)
    cache.put_tensors(key, new)
    return new, True


def _docked(
    groups: Sequence[Group],
    found: Sequence[Mapping[str, Tensor]],
    score_scale: float | None,
    method: Mapping[str, object],
) -> DockedPoses:
    model, seconds = groups[0].encoded.model, sum(float(part["seconds"]) for part in found)
    return DockedPoses(
        complexes=tuple(c for group in groups for c in group.complexes),
        positions={
            name: own
            for group, part in zip(groups, found, strict=True)
            for name, own in group.by_complex(part["positions"])
        },
        seeds={name: seed for group in groups for name, seed in group.seeds.items()},
        ms_per_pose=1000 * seconds / sum(map(len, groups)),
        score_scale=model.score_scale if score_scale is None else score_scale,
        settings={
            "weights": {"file": model.path and model.path.name, "hash": fingerprint(model.network)},
            "method": method,
            "seed": groups[0].seed,
            "samples": groups[0].samples,
        },
    )
