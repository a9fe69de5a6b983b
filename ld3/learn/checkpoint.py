"""Where a fit that may be interrupted is saved: a file that belongs to one flow, its pairs and the settings."""

from __future__ import annotations

import io
import os
import pickle
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch

from ld3.fingerprint import fingerprint
from ld3.grids.grid import Grid
from ld3.learn.config import FitConfig
from ld3.learn.teacher import Pairs
from ld3.solvers.solver import Solver
from ld3.state import State, tensors

_FORMAT = 8  # of what is saved; raise it when its content changes, so that no older one is taken up


def fit_file(
    folder: Path,
    flow: str,
    pairs: tuple[Pairs[State], Pairs[State], Pairs[State] | None],
    solver: Solver,
    nfe: int,
    config: FitConfig,
    grids: Mapping[str, Grid],
    by_hand: Collection[str],
) -> Path:
    """The file in `folder` of the fit whose course is decided by all the rest.

    Args:
        folder: for the files of any number of fits.
        flow: its fingerprint.
        pairs: to learn from, to choose by, and those of the final test.
        solver: to learn for.
        nfe: its evaluations.
        config: of the fit; how many pairs are held in memory at once decides nothing.
        grids: that it may start from.
        by_hand: names of those of them that count as made by hand.
    """
    train, valid, test = pairs
    held = () if test is None else (test.start, test.end)
    states = [tensors(x) for x in (train.start, train.end, valid.start, valid.end, *held)]
    groups = None if test is None else test.groups
    learned = replace(config, chunk=1, checkpoint=False)
    inputs = (flow, states, solver.name, solver.data_mean, nfe, learned, grids, groups, sorted(by_hand))
    key = fingerprint(_FORMAT, *inputs)
    if train.noise is not None:
        key = fingerprint(key, *(part.noise for part in pairs if part is not None))
    return folder / f"fit-{key}.pt"


@final
class Checkpoint:
    """The file of one fit.

    Args:
        path: of the file, whose folder is made when it is written; None: nothing is saved.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def write(self, state: Mapping[str, Any]) -> None:
        """Save plain types and tensors; replaces the file atomically.

        Raises:
            OSError: if it cannot be written.
        """
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        part = self._path.with_suffix(".part")
        content = io.BytesIO()
        torch.save(dict(state), content)
        part.write_bytes(content.getvalue())  # an OSError where the disk is full, as torch's own error is not
        os.replace(part, self._path)

    def read(self) -> dict[str, Any] | None:
        """What was written last; None, with a warning where there is a file, if nothing can be read."""
        if self._path is None or not self._path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self._path, weights_only=True)
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
            cause = str(error).partition("\n")[0]
            warnings.warn(f"{self._path} cannot be read ({cause}); the fit begins anew", stacklevel=2)
            return None
        return state
