"""The reference case on disk: a denoiser, its teacher's pairs, a test set, and what the published LD3 code reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiments.reference_case.model import SHAPE, Classifier, DigitsFlow, load_classifier, load_flow
from domains.images.metrics.frechet import Gaussian
from ld3.fingerprint import fingerprint
from ld3.learn import Pairs

_LABELS: Mapping[str, str] = {"unipc_bh1_3": "A_o3", "unipc_bh1_2": "C_o2", "ipndm_3": "K_ipndm3"}
"""Solver -> how the case's results call the runs of the published code as it is, in its own configuration."""

_NAMES: Mapping[str, str] = {"uni_pc": "unipc_bh1_{}", "ipndm": "ipndm_{}", "dpmpp": "dpmpp_{}m"}
"""How the case's results call a family of solvers -> our name, with its order."""


@final
@dataclass(frozen=True)
class ReferenceRun:
    """One fit of the published code.

    Attributes:
        mse: mean squared distance of pixels to the teacher, on the test set.
        fd_feat: Fréchet distance in the classifier's features.
        network_evaluations: with and without gradients.
        cpu_seconds: of its training.
    """

    mse: float
    fd_feat: float
    network_evaluations: int
    cpu_seconds: float


@final
@dataclass(frozen=True, eq=False)
class ReferenceCase:
    """What both sides are given.

    Attributes:
        flow: the denoiser.
        pairs: the 100 of the reference, 50 that it trained on and 50 that it validated on.
        test_start: 2000 starts that no fit sees, (2000, 1, 8, 8).
        test_end: where the teacher takes them.
        classifier: whose features the second Fréchet distance is in.
        real_pixels, real_features: moments of real digits.
        runs: (solver, NFE) -> fits of the published code, one a seed.
        hand: (solver, NFE) -> grid -> mse that the published code's hand-made grids have.
    """

    flow: DigitsFlow
    pairs: Pairs[Tensor]
    test_start: Tensor
    test_end: Tensor
    classifier: Classifier
    real_pixels: Gaussian
    real_features: Gaussian
    runs: Mapping[tuple[str, int], Sequence[ReferenceRun]]
    hand: Mapping[tuple[str, int], Mapping[str, float]]

    def fingerprint(self) -> str:
        """Hash of all that a fit and its evaluation see."""
        tensors = (self.pairs.start, self.pairs.end, self.test_start, self.test_end)
        quality = (self.classifier.state_dict(), *self.real_pixels, *self.real_features)
        return fingerprint(self.flow.fingerprint(), *tensors, *quality)


def load_case(folder: Path) -> ReferenceCase:
    """Read the folder.

    Raises:
        ValueError: naming the file that is missing or is not what it should be.
    """
    flow = load_flow(folder / "denoiser" / "digits_denoiser.pt")
    taught = _arrays(folder / "teacher_data.npz", "latent", "img")
    test = _arrays(folder / "test_set.npz", "latent", "teacher")
    moments = ("pixel_mu", "pixel_cov", "feat_mu", "feat_cov")
    real = [torch.from_numpy(x).double() for x in _arrays(folder / "fd" / "real_stats.npz", *moments)]
    for name, arrays in (("teacher_data.npz", taught), ("test_set.npz", test)):
        if any(x.shape[1:] != SHAPE or len(x) != len(arrays[0]) or len(x) < 2 for x in arrays):
            raise ValueError(f"{folder / name} must hold as many starts as ends, of shape {SHAPE}, and at least two")
    runs, hand = _results(folder / "ld3_results.json")
    start, end = (torch.from_numpy(x).to(flow.dtype) for x in taught)
    test_start, test_end = (torch.from_numpy(x).to(flow.dtype) for x in test)
    scale = flow.prior_scale["x"]
    return ReferenceCase(
        flow=flow,
        pairs=Pairs(scale * start, end, torch.zeros(0), True, 0),
        test_start=scale * test_start,
        test_end=test_end,
        classifier=load_classifier(folder / "fd" / "classifier.pt"),
        real_pixels=Gaussian(*real[:2]),
        real_features=Gaussian(*real[2:]),
        runs=runs,
        hand=hand,
    )


def _arrays(path: Path, *names: str) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return [content[name] for name in names]
    except Exception as error:
        raise ValueError(f"{path} must hold the arrays {', '.join(names)}: {error}") from error


def _results(
    path: Path,
) -> tuple[dict[tuple[str, int], list[ReferenceRun]], dict[tuple[str, int], dict[str, float]]]:
    """Runs and hand-made grids by solver and NFE."""
    try:
        content = json.loads(path.read_text())
        runs: dict[tuple[str, int], list[ReferenceRun]] = {}
        hand: dict[tuple[str, int], dict[str, float]] = {}
        for solver, label in _LABELS.items():
            for run in content["runs"]:
                if run["name"] == f"{label}_N{run['steps']}_s{run['seed']}":
                    runs.setdefault((solver, run["steps"]), []).append(_run(run))
        for row in content["hand"]:
            solver = _NAMES[row["solver"]].format(row["order"])
            hand.setdefault((solver, row["N"]), {})[row["skip"]] = float(row["mse"])
        return runs, hand
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold the results of the reference: {type(error).__name__}: {error}") from error


def _run(run: Mapping[str, Any]) -> ReferenceRun:
    evaluations = int(run["net_evals_grad"]) + int(run["net_evals_nograd"])
    return ReferenceRun(
        float(run["eval"]["mse"]), float(run["eval"]["fd_feat"]), evaluations, float(run["cpu_seconds"])
    )
