"""Teacher runs: pairs (start, end) of the flow solved with many small steps, on disk if a folder is given."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Generic

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ld3.fingerprint import fingerprint
from ld3.flow import ProbabilityFlow
from ld3.grids.hand_made import HAND_MADE
from ld3.learn.config import check_numbers
from ld3.learn.final_test import FEWEST
from ld3.solvers.integrate import integrate
from ld3.solvers.registry import get_solver
from ld3.state import State, Tangent, cat, rebuild, size, take, tensors

SCHEMA = "ld3.teacher"

_MATTERS = 0.1  # of the learned loss: what a teacher may be off by before it is worth a word


@dataclass(frozen=True)
class Teacher:
    """How the teacher runs.

    Attributes:
        solver: a name of the registry.
        grid: a name of the hand-made grids.
        nfe: evaluations per sample; the convergence check spends twice as many again on `checked` samples.
        tolerance: what the median distance (in the flow's `distance`) to the run at twice the steps may be.
        checked: how many samples the check looks at.
        chunk: samples solved at once.

    Raises:
        ValueError: if the solver or grid has no such name, the solver cannot spend `nfe`, or a number is not positive.
    """

    solver: str = "dpmpp_2m"
    grid: str = "uniform_log_snr"
    nfe: int = 64
    tolerance: float = 0.01
    checked: int = 32
    chunk: int = 64

    def __post_init__(self) -> None:
        if self.grid not in HAND_MADE:
            raise ValueError(f"grid must be one of {', '.join(HAND_MADE)}, got {self.grid!r}")
        check_numbers(self, whole=("nfe", "checked", "chunk"), above_zero=("tolerance",))
        self.steps(self.nfe)

    def steps(self, nfe: int) -> int:
        """Of `nfe` evaluations."""
        return get_solver(self.solver).steps(nfe)

    def evaluations(self, n: int) -> int:
        """Of the network for `n` samples, check included."""
        return self.nfe * (n + 2 * min(self.checked, n))


@dataclass(frozen=True)
class Pairs(Generic[State]):
    """What the teacher reached from where.

    Attributes:
        start: n states at the flow's first level.
        end: where the teacher took each.
        disagreement: distances (m,) of the first m ends from the same run at twice the steps.
        converged: their median is within the tolerance.
        network_evaluations: spent on all of it, check included; those of a reused run count as well.
        groups: (n,) whole numbers, which pairs belong together (poses of one complex, images of one prompt) and are to
            be divided, and counted in intervals, as one; None = every pair stands for itself.
        noise: what a stochastic student adds in each of its steps but the last, factor -> (n, N - 1, ...) standard
            normal numbers; None for a student that is not.
    """

    start: State
    end: State
    disagreement: Tensor
    converged: bool
    network_evaluations: int
    groups: Tensor | None = None
    noise: Tangent | None = None

    def __len__(self) -> int:
        return size(self.start)

    def take(self, index: slice | Tensor) -> Pairs[State]:
        """Some of the pairs, with the same record of the check."""
        groups = None if self.groups is None else self.groups[index]
        noise = None if self.noise is None else {factor: z[index] for factor, z in self.noise.items()}
        return replace(self, start=take(self.start, index), end=take(self.end, index), groups=groups, noise=noise)

    def split(self, seed: int) -> tuple[Pairs[State], Pairs[State], Pairs[State]]:
        """Pairs to learn from, to choose the best grid by and for the final test, drawn with `seed`; :func:`parts` says
        how many. All are in this order; groups are not torn apart.

        Raises:
            ValueError: if there are fewer than two.
        """
        groups = torch.arange(len(self)) if self.groups is None else self.groups.cpu()
        names = groups.unique()
        _, n_valid, n_test = parts(len(names))
        drawn = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))]
        chosen = drawn[:n_valid], drawn[n_valid : n_valid + n_test]
        valid, test = (torch.isin(groups, part) for part in chosen)
        return self.take(_rows(~(valid | test))), self.take(_rows(valid)), self.take(_rows(test))

    def finite(self) -> Pairs[State]:
        """Those whose start and end are finite numbers."""
        values = (*tensors(self.start).values(), *tensors(self.end).values())
        sound = [
            v.isfinite().reshape(len(v), math.prod(v.shape[1:])).all(1).cpu() for v in values if v.is_floating_point()
        ]
        return self.take(_rows(torch.stack(sound).all(0)))


def parts(n: int) -> tuple[int, int, int]:
    """How many of n pairs (or groups of them) are to learn from, to choose the best grid by, and for the final test.

    One in five to choose by, and as many for the test; where there are few, up to a third, as long as it falls short of
    the fewest that a test can be made on.

    Raises:
        ValueError: if there are fewer than two.
    """
    if n < 2:
        raise ValueError(f"pairs must be at least 2, one to learn from and one to choose by, got {n}")
    n_valid = n // 5 or 1
    n_test = max(n // 5, min(FEWEST, n // 3))
    n_test = min(n_test, n - n_valid - 1)
    return n - n_valid - n_test, n_valid, n_test


def too_coarse(off: float, learned: float) -> str | None:
    """A word where the teacher is not much nearer to its limit than the student to it; None where it is.

    Args:
        off: mean distance of the teacher's samples to those at twice its steps.
        learned: mean distance of the student's to the teacher's.
    """
    if not off > _MATTERS * learned:
        return None
    return (
        f"the teacher is {off:.2g} from twice its steps, and what was fitted {learned:.2g} from the teacher: a finer "
        "teacher would be worth it"
    )


def _rows(mask: Tensor) -> Tensor:
    return mask.nonzero()[:, 0]


def finite_parts(train: Pairs[State], valid: Pairs[State]) -> tuple[Pairs[State], Pairs[State], int]:
    """Those pairs of both that are finite, and how many are not.

    Raises:
        ValueError: if nothing is left of one of them.
    """
    sound_train, sound_valid = train.finite(), valid.finite()
    for name, left, given in (("train", sound_train, train), ("valid", sound_valid, valid)):
        if len(left) == 0:
            raise ValueError(
                f"{name} must hold at least one pair whose start and end are finite, got {len(given)} pairs, none of "
                "them so; give more, take a finer teacher, or mend the model"
            )
    return sound_train, sound_valid, len(train) + len(valid) - len(sound_train) - len(sound_valid)


@torch.no_grad()
def run_teacher(
    flow: ProbabilityFlow[State],
    start: State,
    teacher: Teacher,
    folder: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Pairs[State]:
    """Solve the flow from every state of `start`.

    With a `folder`, the starts and each finished chunk of ends, or in the end all of them, are written there as
    safetensors, and manifest.json says what they are and, at the end, how far the check was off; a run that was
    interrupted goes on, and one whose flow, starts and settings are unchanged is read back. `teacher.chunk` may change,
    for it is a question of memory alone.

    Args:
        on_progress: called as on_progress(network evaluations done, in all).

    Raises:
        ValueError: if there is no start.
        TypeError: with a folder, if the flow cannot be hashed.
    """
    n, checked = size(start), min(teacher.checked, size(start))
    if n == 0:
        raise ValueError("start must hold at least one sample, got none")
    grids = {nfe: HAND_MADE[teacher.grid](flow.clock, teacher.steps(nfe)) for nfe in (teacher.nfe, 2 * teacher.nfe)}
    store = _Store(folder, flow, start, teacher) if folder is not None else None
    total = teacher.evaluations(n)
    done = 0

    def count(evaluations: int) -> None:
        nonlocal done
        done += evaluations
        if on_progress is not None:
            on_progress(done, total)

    def solve(name: str, samples: State, nfe: int) -> State:
        kept = store.read(name, samples) if store else None
        if kept is not None:
            count(nfe * size(samples))
            return kept
        ends = []
        for low in range(0, size(samples), teacher.chunk):
            part = take(samples, slice(low, low + teacher.chunk))
            piece = f"{name}-{low}-{low + size(part)}"
            end = store.read(piece, part) if store else None
            if end is None:
                end = integrate(flow, part, grids[nfe], get_solver(teacher.solver))
                if store:
                    store.write(piece, end)
            ends.append(end)
            count(nfe * size(part))
        if store:
            store.join(name, cat(ends))
        return cat(ends)

    end = solve("end", start, teacher.nfe)
    first = slice(0, checked)
    finer = solve("check", take(start, first), 2 * teacher.nfe)
    disagreement = flow.distance(take(end, first), finer)
    converged = bool(disagreement.median() <= teacher.tolerance)
    pairs = Pairs(start, end, disagreement.cpu(), converged, total)
    if store:
        store.record(pairs)
    return pairs


def other_flows(folder: Path, flow: ProbabilityFlow[State]) -> list[str]:
    """Fingerprints of the flows whose teacher runs `folder` holds, if `flow` is not among them.

    `run_teacher` uses none of these runs. They are worth a word to someone who expects it to.
    """
    known = set()
    for path in folder.glob("*/manifest.json"):
        try:
            known.add(str(json.loads(path.read_text())["flow"]))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # no manifest of ours, or one of an older version
    return [] if flow.fingerprint() in known else sorted(known)


class _Store:
    """Starts and ends, whole or in pieces, in a folder that belongs to one flow, one set of starts and one teacher."""

    def __init__(self, folder: Path, flow: ProbabilityFlow[State], start: State, teacher: Teacher) -> None:
        own = flow.fingerprint()
        key = fingerprint(own, tensors(start), replace(teacher, chunk=1))
        self.folder = folder / key
        settings = {"samples": size(start), "teacher": asdict(teacher)}
        self.manifest = {"schema": SCHEMA, "version": 2, "key": key, "flow": own, **settings}
        if not (self.folder / "manifest.json").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.write("start", start)
            self._describe({"complete": False})

    def record(self, pairs: Pairs[State]) -> None:
        """The last word of the manifest; JSON has no NaN, so that null is the disagreement of a sample that failed."""
        disagreement = [d if math.isfinite(d) else None for d in pairs.disagreement.tolist()]
        check = {"disagreement": disagreement, "converged": pairs.converged}
        self._describe({"complete": True, **check, "network_evaluations": pairs.network_evaluations})

    def _describe(self, progress: Mapping[str, object]) -> None:
        part = self.folder / "manifest.part"
        part.write_text(json.dumps({**self.manifest, **progress}, indent=2, allow_nan=False))
        os.replace(part, self.folder / "manifest.json")

    def join(self, name: str, state: State) -> None:
        """Write `state` in place of its pieces, which another chunk would not find."""
        self.write(name, state)
        for piece in self.folder.glob(f"{name}-*.safetensors"):
            piece.unlink()

    def read(self, name: str, like: State) -> State | None:
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        devices = {field: value.device for field, value in tensors(like).items()}
        try:
            return rebuild(like, {field: value.to(devices[field]) for field, value in load_file(path).items()})
        except (SafetensorError, OSError, ValueError, KeyError) as error:
            warnings.warn(f"{path} cannot be read ({error}) and is computed again", stacklevel=2)
            return None

    def write(self, name: str, state: State) -> None:
        part = self.folder / f"{name}.part"
        part.write_bytes(save({k: v.detach().cpu().contiguous() for k, v in tensors(state).items()}))
        os.replace(part, self.folder / f"{name}.safetensors")
