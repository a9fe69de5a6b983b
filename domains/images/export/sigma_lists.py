"""Export as lists of noise levels for k-diffusion and for ComfyUI, which samples with k-diffusion's functions.

Both hold x̂ = x/α, and call σ what is σ̂ here. Models on straight paths they hold at x_t, with σ = t; there only Euler
takes the steps that it takes here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domains.images.export.expressible import check_published, heading, last_levels, noise_levels, numbers
from ld3.learn.result import FitResult
from ld3.single_path import STRAIGHT, single_path

SAMPLERS: Final[Mapping[str, str]] = {"ddim": "euler", "heun": "heun", "dpmpp_2m": "dpmpp_2m"}
"""Solver -> the sampler of k-diffusion that takes the same steps."""

COMFYUI: Final[Mapping[str, str]] = {**SAMPLERS, "ipndm_4": "ipndm"}
"""The same for ComfyUI, which brings some of its own."""

_COMFYUI_NOTES: Final = (
    "ComfyUI gives the network the nearest whole step for each level, not the level itself",
    "where the first level is the model's largest, ComfyUI starts from noise times √(1 + σ²) instead of σ",
)


def k_diffusion_code(fit: FitResult, path: Path) -> str:
    """Python for `k_diffusion.sampling`.

    Raises:
        ValueError: in one line, if k-diffusion cannot take these steps.
    """
    sampler, sigmas, notes = _sampler(fit, "k-diffusion", SAMPLERS)
    return "\n".join(
        [
            *heading(fit, "# "),
            *(f"# {note}" for note in notes),
            "import torch",
            f"from k_diffusion.sampling import sample_{sampler}",
            "",
            f"sigmas = torch.tensor({numbers(sigmas)})",
            f"samples = sample_{sampler}(denoiser, sigmas[0] * torch.randn(shape), sigmas)",
            "",
        ]
    )


def comfyui_text(fit: FitResult, path: Path) -> str:
    """The list for the node ManualSigmas in the first line, and below what goes with it.

    Raises:
        ValueError: in one line, if ComfyUI cannot take these steps.
    """
    sampler, sigmas, notes = _sampler(fit, "comfyui", COMFYUI)
    straight = single_path(fit, "comfyui").schedule in STRAIGHT
    return "\n".join(
        [
            numbers(sigmas).strip("[]"),
            "",
            f"# the line above, and nothing else, into ManualSigmas; SamplerCustom, with KSamplerSelect: {sampler}",
            *([] if straight else [f"# {note}" for note in _COMFYUI_NOTES]),
            *(f"# {note}" for note in notes),
            *heading(fit, "# "),
            "",
        ]
    )


def _sampler(fit: FitResult, target: str, samplers: Mapping[str, str]) -> tuple[str, list[float], list[str]]:
    """The sampler's name, its levels, and what to know about them."""
    path = single_path(fit, target)
    check_published(fit, target)
    if fit.solver not in samplers:
        raise ValueError(f"{target} has no sampler that takes the steps of {fit.solver}, only of {', '.join(samplers)}")
    if path.schedule in STRAIGHT:
        if fit.solver != "ddim":
            raise ValueError(f"{target} takes the steps of {fit.solver} on straight paths in another way; only of ddim")
        return samplers[fit.solver], last_levels(fit, list(path.solver.sigma)), ["levels are σ = t of a straight path"]
    sigmas = last_levels(fit, noise_levels(path.solver))
    if fit.solver != "dpmpp_2m" or fit.grid.clean_end:
        return samplers[fit.solver], sigmas, []
    # Its last step is of order 1, as here, only where it ends without noise.
    note = f"the last step goes on to 0, where the fit ended at {sigmas[-1]:.4g}"
    return samplers[fit.solver], [*sigmas[:-1], 0.0], [note]
