"""Reads the noise path of a diffusers model from the config of its scheduler.

A scheduler's class says how its authors sample; the path that the network was trained on is in the config, and nearly
all classes write it alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, final, get_args

from torch import Tensor

from ld3.flow import noise_from_clean, noise_from_v, noise_from_velocity
from ld3.schedules import Betas, RectifiedFlow, Schedule, VPSteps
from ld3_diffusers.config_options import FLOWS, OPTIONS, STEPS, Component, check_options, own_options

NOISE_FROM: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]]] = {
    "epsilon": lambda x_t, answer, alpha, sigma: answer,
    "sample": noise_from_clean,
    "v_prediction": noise_from_v,
    "flow_prediction": noise_from_velocity,
}
"""Prediction type, as diffusers spells it -> (x_t, answer, α, σ) -> ε̂."""


@final
@dataclass(frozen=True)
class TrainedPath:
    """What a network was trained on.

    Attributes:
        schedule: its noise path.
        prediction: what it answers with, a key of `NOISE_FROM`.
        time_scale: the network takes this multiple of the schedule's time.
        clean_end: whether its own scheduler's last step goes on to no noise, instead of to the first training level.
        ends: why, in words.
    """

    schedule: Schedule
    prediction: str
    time_scale: float
    clean_end: bool
    ends: str


def read_path(kind: str, config: Mapping[str, Any]) -> TrainedPath:
    """The path behind a scheduler.

    Shifts of flow matching (`shift`, dynamic or not) move the times at which its authors sample; the path, and the
    network's time at a noise level, are the same without them. Clipping of clean predictions is left out, as diffusers'
    own multistep schedulers leave it out.

    Args:
        kind: class name of the scheduler.
        config: its config.

    Raises:
        ValueError: listing the schedulers that are supported; or naming the setting that is not, or that contradicts
            another.
    """
    if kind not in STEPS + FLOWS:
        raise ValueError(f"scheduler must be one of {', '.join(STEPS + FLOWS)}, got {kind}")
    check_options(kind, {name: value for name, value in config.items() if name in OPTIONS[kind]})
    n, end = int(config["num_train_timesteps"]), own_end(kind, config)
    prediction = config.get("prediction_type", "epsilon")
    if config.get("use_flow_sigmas") and prediction != "flow_prediction":
        raise ValueError(f"{kind} with use_flow_sigmas needs prediction_type 'flow_prediction', got {prediction!r}")
    if kind in FLOWS or config.get("use_flow_sigmas"):
        return TrainedPath(RectifiedFlow(), "flow_prediction", float(n), *end)
    on_steps = [name for name in NOISE_FROM if name != "flow_prediction"]
    if prediction not in on_steps:
        raise ValueError(f"prediction_type must be one of {', '.join(on_steps)}, got {prediction!r}")
    if config["beta_schedule"] not in get_args(Betas):
        raise ValueError(f"beta_schedule must be one of {', '.join(get_args(Betas))}, got {config['beta_schedule']!r}")
    zero_snr = bool(config.get("rescale_betas_zero_snr"))
    if zero_snr and prediction == "epsilon":
        raise ValueError(
            "rescale_betas_zero_snr needs prediction_type 'v_prediction' or 'sample', got 'epsilon': where nothing but "
            "noise is left, the noise says nothing about the image"
        )
    schedule = VPSteps(config["beta_schedule"], config["beta_start"], config["beta_end"], n, zero_snr)
    return TrainedPath(schedule, prediction, 1.0, *end)


def own_end(kind: str, config: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a scheduler's last step goes on to no noise, and why, in words."""
    if kind in ("DDIMScheduler", "PNDMScheduler"):
        clean = bool(config.get("set_alpha_to_one", kind == "DDIMScheduler"))
        return clean, f"{kind} with set_alpha_to_one = {clean}"
    if "final_sigmas_type" in config:
        last = config["final_sigmas_type"]
        return last == "zero", f"{kind} with final_sigmas_type = {last!r}"
    return kind != "DEISMultistepScheduler", kind


def own_scheduler(scheduler: Component) -> tuple[str, dict[str, Any]]:
    """Class and options of a pipeline's scheduler; of the one that it came with, where a learned one has its place."""
    original = scheduler.config.get("original_scheduler")
    if original is None:
        return type(scheduler).__name__, own_options(scheduler)
    return original, {name: scheduler.config[name] for name in OPTIONS[original] if name in scheduler.config}
