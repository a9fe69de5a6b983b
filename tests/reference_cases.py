"""A reference case that tests build: an untrained denoiser, whose few pairs our own teacher made."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from benchmarks.experiments.reference_case.model import Classifier, DigitsFlow, ResidualMLP
from ld3.grids import HAND_MADE
from ld3.solvers import get_solver, integrate

REFERENCE = {4: (0.5, 0.25, 0.75), 5: (0.4,)}
"""NFE -> mse of each seed that the published code is said to have reached."""

EVALUATIONS, SECONDS = 6000, 8.0


def write_case(folder: Path) -> Path:
    """Everything that `load_case` reads."""
    torch.manual_seed(0)
    network = ResidualMLP(width=8, blocks=1, embedding=8)
    config = {"width": 8, "blocks": 1, "emb": 8, "dropout": 0.3}
    network.freqs.copy_(torch.linspace(0.25, 4.0, 16))  # type: ignore[operator]
    weights = {f"model.{name}": value.clone() for name, value in network.state_dict().items()}
    for part in ("denoiser", "fd"):
        (folder / part).mkdir(parents=True)
    content = {"state_dict": weights, "sigma_data": 0.75, "cfg": config}
    torch.save(content, folder / "denoiser" / "digits_denoiser.pt")
    torch.save(Classifier().state_dict(), folder / "fd" / "classifier.pt")
    mean, covariance = np.zeros(64), np.eye(64)
    stats = folder / "fd" / "real_stats.npz"
    np.savez(stats, pixel_mu=mean, pixel_cov=covariance, feat_mu=mean, feat_cov=covariance)
    flow = DigitsFlow(network, 0.75)
    latent, end = _taught(flow, 24)
    np.savez(folder / "teacher_data.npz", latent=latent, img=end)
    latent, end = _taught(flow, 16)
    np.savez(folder / "test_set.npz", latent=latent, teacher=end)
    (folder / "ld3_results.json").write_text(json.dumps({"runs": _runs(), "hand": _hand()}))
    return folder


@torch.no_grad()
def _taught(flow: DigitsFlow, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of unit variance, and where 40 steps take them."""
    latent = torch.randn(n, 1, 8, 8)
    end = integrate(flow, 80.0 * latent, HAND_MADE["edm"](flow.clock, 40), get_solver("unipc_bh1_3"))
    return latent.numpy(), end.numpy()


def _runs() -> list[dict[str, object]]:
    return [
        {
            "name": f"{label}_N{nfe}_s{seed}",
            "steps": nfe,
            "seed": seed,
            "net_evals_grad": 1000,
            "net_evals_nograd": EVALUATIONS - 1000,
            "cpu_seconds": SECONDS,
            "eval": {"mse": mse, "fd_feat": 1.0},
        }
        for label in ("A_o3", "K_ipndm3", "I_fixrks")  # the last is none of the published code as it is
        for nfe, values in REFERENCE.items()
        for seed, mse in enumerate(values)
    ]


def _hand() -> list[dict[str, object]]:
    return [{"solver": "ipndm", "order": 3, "N": nfe, "skip": "dmn", "mse": 1e-9} for nfe in REFERENCE]
