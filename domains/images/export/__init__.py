"""Exports of learned grids: code and lists for the samplers of diffusers, k-diffusion and ComfyUI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from domains.images.export.before_fit import check_target
from domains.images.export.diffusers_code import diffusers_code, unconditional_code
from domains.images.export.plain import plain_json
from domains.images.export.sigma_lists import comfyui_text, k_diffusion_code
from ld3.learn.result import FitResult

Target = Literal["diffusers", "comfyui", "k-diffusion", "json"]
"""Who samples."""

TARGETS: Final[Mapping[str, Callable[[FitResult, Path], str]]] = {
    "diffusers": diffusers_code,
    "diffusers-unconditional": unconditional_code,
    "k-diffusion": k_diffusion_code,
    "comfyui": comfyui_text,
    "json": plain_json,
}
"""Name -> (fit, its file) -> what that sampler is to be given; ValueError where it cannot take the steps."""

__all__ = [
    "TARGETS",
    "Target",
    "check_target",
    "comfyui_text",
    "diffusers_code",
    "k_diffusion_code",
    "plain_json",
    "unconditional_code",
]
