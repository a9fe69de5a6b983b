"""What every training does alike: its settings, the learning rate, one step, the moving average of the weights, and a
state on disk that a stopped run goes on from.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
import tyro
import yaml
from torch import Tensor, nn

from domains.errors import InputError, InputProblem
from domains.yaml_options import read_options

T = TypeVar("T")


class Settings(Protocol):
    """What this module needs to know of a run's settings.

    Attributes:
        steps: of the run.
        learning_rate: at its highest.
        warm_up: steps over which it rises.
        decay: last part of the run, over which it falls to zero.
        ema: decay of the moving average.
    """

    @property
    def steps(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def warm_up(self) -> int: ...
    @property
    def decay(self) -> float: ...
    @property
    def ema(self) -> float: ...


def check_settings(settings: Settings, whole: Sequence[str], positive: Sequence[str], shares: Sequence[str]) -> None:
    """Refuse fields that are out of range: of `whole` (>= 1), of `positive` (> 0, finite), of `shares` (in [0, 1)).

    Raises:
        ValueError: naming the field and its value.
    """
    for name in whole:
        if not getattr(settings, name) >= 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(settings, name)}")
    for name in positive:
        if not 0 < getattr(settings, name) < math.inf:
            raise ValueError(f"{name} must be positive and finite, got {getattr(settings, name)}")
    for name in shares:
        if not 0 <= getattr(settings, name) < 1:
            raise ValueError(f"{name} must be in [0, 1), got {getattr(settings, name)}")


class Part(Protocol):
    """A network or an optimiser."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...  # noqa: ANN401


def learning_rate(step: int, config: Settings) -> float:
    """Warm up, hold, fall linearly to zero over the last `config.decay` of the run."""
    warm = min(1.0, (step + 1) / config.warm_up)
    left = (config.steps - step) / max(1.0, config.decay * config.steps)
    return config.learning_rate * min(warm, max(left, 0.0), 1.0)


def descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Optimizer, rate: float, clip: float) -> bool:
    """One step of the optimiser, with the gradient shortened to `clip`; False, and no step, if it is not finite."""
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip)
    if not torch.isfinite(norm):
        return False
    optimiser.step()
    return True


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, step: int, ema: float) -> None:
    """w̄ <- k w̄ + (1 - k) w with k = min(ema, (1 + n)/(10 + n)) after n steps."""
    keep = min(ema, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), network.parameters(), strict=True):
        mean.lerp_(value, 1 - keep)


def save_state(
    out: Path, parts: Mapping[str, Part], numbers: Mapping[str, float], generator: torch.Generator | None = None
) -> None:
    """Write state.pt in `out`, atomically: networks and optimiser, the run's own numbers, and the state of a generator
    and of torch's own, where the run draws from them.
    """
    state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    if generator is not None:
        state |= {"generator": generator.get_state(), "torch": torch.get_rng_state()}
    part = out / "state.part"
    torch.save({**state, **numbers}, part)
    os.replace(part, out / "state.pt")


def load_state(path: Path, parts: Mapping[str, Part], generator: torch.Generator | None = None) -> dict[str, Any]:
    """Put back what `save_state` wrote; the state, for the run's own numbers.

    Raises:
        InputError: if the file is damaged or belongs to another network.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        if generator is not None:
            generator.set_state(state["generator"])
            torch.set_rng_state(state["torch"])  # dropout has no generator of its own
    except Exception as error:  # torch raises whatever its readers raise
        message = f"the run cannot be continued ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
        remedy = "give the options that it was started with, or another --out"
        raise InputError(InputProblem(str(path), "", message, remedy)) from error
    return state


def read_settings(
    kind: type[T], module: str, description: str | None = None, arguments: Sequence[str] | None = None
) -> T:
    """The settings of `python -m module` from the command line, and where it is silent from the YAML file --config.

    Raises:
        InputError, ValueError: if the file cannot be used, or the settings refuse a value.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    known, rest = parser.parse_known_args(arguments)
    prog = f"python -m {module}"
    if known.config is None:
        return tyro.cli(kind, prog=prog, description=description, args=rest)
    default = read_options(kind, known.config, tyro.MISSING)
    return tyro.cli(kind, prog=prog, description=description, args=rest, default=default)


def prepare_output(out: Path, settings: Any) -> None:  # noqa: ANN401
    """Make the output folder and write the dataclass `settings` into its config.yaml, which --config reads.

    Raises:
        InputError: if that is not possible.
    """
    # JSON knows neither paths nor tuples, and YAML's writer is to meet neither.
    plain = json.loads(json.dumps(asdict(settings), default=str))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(yaml.safe_dump(plain, sort_keys=False))
    except OSError as error:
        problem = InputProblem(str(out), "", f"cannot write there ({error.strerror})", "choose another --out")
        raise InputError(problem) from error
