"""Images by a pipeline's own scheduler, as the pipeline makes them: what a learned grid is to be compared with."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor

from domains.images.conditioned import Conditioned
from domains.images.diffusers.flow import DiffusersFlow
from ld3_diffusers.config_options import Component


@torch.no_grad()
def own_images(flow: DiffusersFlow, start: Conditioned, most_calls: int, seed: int = 0) -> tuple[Tensor, int]:
    """Images in [-1, 1], (B, C, H, W), from the noise of `start`, and the calls of the network that each took: as many
    as the scheduler can make of `most_calls`, which some of them exceed even with a single step.

    Args:
        seed: of schedulers that add noise on the way.
    """
    scheduler = copy.deepcopy(flow.scheduler)
    for steps in range(most_calls, 0, -1):
        _set_steps(flow, scheduler, steps)
        if len(scheduler.timesteps) <= most_calls:
            break
    takes = inspect.signature(scheduler.step).parameters
    drawn = {"generator": torch.Generator(flow.device).manual_seed(seed)} if "generator" in takes else {}
    # Those of straight paths take noise as it is drawn.
    x_t = start.x / flow.prior_scale["x"] * getattr(scheduler, "init_noise_sigma", 1.0)
    for time in scheduler.timesteps:
        seen = scheduler.scale_model_input(x_t, time) if hasattr(scheduler, "scale_model_input") else x_t
        answer = flow.answer(seen, time.to(x_t), start.condition)
        x_t = scheduler.step(answer, time, x_t, **drawn).prev_sample
    return flow.image(x_t), len(scheduler.timesteps)


def _set_steps(flow: DiffusersFlow, scheduler: Component, steps: int) -> None:
    """As the pipelines do: Flux gives the times that its shift is applied to, both shift by the number of tokens."""
    config = scheduler.config
    given: dict[str, Any] = {}
    takes = inspect.signature(scheduler.set_timesteps).parameters
    if config.get("use_dynamic_shifting") and "mu" in takes:
        given["mu"] = shift_of(config, flow.shape[1] * flow.shape[2] // 4)
    if flow.about["pipeline"] == "FluxPipeline" and "sigmas" in takes and not config.get("use_flow_sigmas"):
        given["sigmas"] = torch.linspace(1.0, 1 / steps, steps).tolist()
    scheduler.set_timesteps(steps, **given)


def shift_of(config: Any, tokens: int) -> float:  # noqa: ANN401
    """The shift μ of straight paths for so many tokens: linear in them (Esser et al., arXiv 2403.03206, sec. 5.3.2)."""
    low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    least, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    return float(least + (most - least) * (tokens - low) / (high - low))
