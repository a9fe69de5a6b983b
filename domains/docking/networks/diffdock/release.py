"""Release folders of DiffDock: `model_parameters.yml` beside a state_dict."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, final

import torch
import yaml
from torch import Tensor, nn

from domains.docking.networks.diffdock.confidence import ConfidenceConfig, ConfidenceModel
from domains.docking.networks.diffdock.config import DiffDockConfig, number, unsupported, whole
from domains.docking.networks.diffdock.network import DiffDockScoreModel
from domains.docking.poses.low_temperature_sde import PUBLISHED, LowTemperature, Temperature
from domains.weight_files import problem

SCORE_FOLDERS: Final = ("score_model", "paper_score_model")
SCORE_WEIGHTS: Final = ("best_ema_inference_epoch_model.pt",)
CONFIDENCE_FOLDERS: Final = ("confidence_model", "paper_confidence_model")
CONFIDENCE_WEIGHTS: Final = ("best_model_epoch75.pt",)
PARAMETERS: Final = "model_parameters.yml"
ARGUMENTS: Final = "default_inference_args.yaml"
PUBLISHED_START: Final = 1.4601642460337794
"""DiffDock-L's initial_noise_std_proportion; v1.0 starts with the largest noise."""
PUBLISHED_FIRST_VERSION: Final = LowTemperature(dict.fromkeys(("tr", "rot", "tor"), Temperature(1.0, 0.0, 0.5)), 20, 18)
"""The sampler of DiffDock v1.0 by its README: the plain SDE, 18 of 20 steps."""

Network = TypeVar("Network", bound=nn.Module)

_RELEASE: Final = "give the unpacked folder of a DiffDock release, such as workdir/v1.1, or its score_model"
_DEFAULTS: Final = "without it the published numbers are taken"
_NAMED: Final = 3
_ONLY_SAMPLING: Final[Mapping[str, tuple[object, ...]]] = {
    "ode": (False,),
    "no_random": (False,),
    "different_schedules": (False,),
    "choose_residue": (False,),
    "no_final_step_noise": (True,),
    "sigma_schedule": ("expbeta",),
    "inf_sched_alpha": (1, None),
    "inf_sched_beta": (1, None),
}


@final
@dataclass(frozen=True, eq=False)
class Release:
    """What a release folder holds.

    Attributes:
        score: the score network.
        confidence: the confidence model; None where the folder has none.
        parameters: of the score network, the contents of its yaml file.
        sampler: temperatures and steps.
        start_proportion: p of the starts, see :class:`domains.docking.networks.weights.DockingModel`.
    """

    score: DiffDockScoreModel
    confidence: ConfidenceModel | None
    parameters: Mapping[str, Any]
    sampler: LowTemperature
    start_proportion: float | None


def load_release(path: Path) -> Release:
    """Networks in evaluation mode, and how the published code samples with them.

    Args:
        path: of the release's folder, with `score_model` in it, of that folder itself, or of the .pt file in it.

    Raises:
        InputError: if it is no release, a file is missing or cannot be read (the weights are opened without running any
            code in them), an option is not supported, or keys or shapes do not fit the yaml.
    """
    folder = path if path.is_dir() or path.suffix != ".pt" else path.parent
    place = model_folder(folder, SCORE_FOLDERS)
    parameters = read_parameters(place)
    score = _built(place, lambda: DiffDockScoreModel(DiffDockConfig.from_parameters(parameters)))
    score = _loaded(score, weights_file(place, SCORE_WEIGHTS) if folder == path else path)
    confidence = None
    if any((folder / name).is_dir() for name in CONFIDENCE_FOLDERS):
        confidence = load_confidence_model(folder)
    places = (place, folder, folder.parent, folder.parent.parent)
    sampler, proportion = sampling_arguments(*places, first_version=score.config.first_version)
    return Release(score, confidence, parameters, sampler, proportion)


def load_confidence_model(folder: Path) -> ConfidenceModel:
    """The confidence model of a release; arguments and errors as :func:`load_release`."""
    place = model_folder(folder, CONFIDENCE_FOLDERS)
    parameters = read_parameters(place)
    model = _built(place, lambda: ConfidenceModel(ConfidenceConfig.from_parameters(parameters)))
    return _loaded(model, weights_file(place, CONFIDENCE_WEIGHTS))


def sampling_arguments(*places: Path, first_version: bool = False) -> tuple[LowTemperature, float | None]:
    """Temperatures, steps and the starts' proportion of the first `default_inference_args.yaml` in `places`.

    Where there is none, or it is for the other version (its `old_score_model` says so), they are the published ones.
    The file lies in the repository, two folders above a release.

    Raises:
        InputError: if the file cannot be read, or asks for a sampler that is not the low-temperature SDE.
    """
    published = (PUBLISHED_FIRST_VERSION, None) if first_version else (PUBLISHED, PUBLISHED_START)
    path = next((place / ARGUMENTS for place in places if (place / ARGUMENTS).is_file()), None)
    if path is None:
        return published
    values = _table(path)
    if bool(values.get("old_score_model", False)) != first_version:
        return published
    try:
        unsupported(values, _ONLY_SAMPLING)
        temperatures = {
            factor: Temperature(
                number(values, f"temp_sampling_{factor}", 1.0),
                number(values, f"temp_psi_{factor}", 0.0),
                number(values, f"temp_sigma_data_{factor}", 0.5),
            )
            for factor in ("tr", "rot", "tor")
        }
        steps = whole(values, "inference_steps") if "inference_steps" in values else 20
        run = whole(values, "actual_steps") if values.get("actual_steps") is not None else steps
        proportion = number(values, "initial_noise_std_proportion", -1.0)
        return LowTemperature(temperatures, steps, run), proportion if proportion >= 0 else None
    except ValueError as error:
        raise problem(path, str(error), f"use the file of the release, or remove it: {_DEFAULTS}") from error


def _built(place: Path, build: Callable[[], Network]) -> Network:
    try:
        return build()
    except ValueError as error:
        remedy = "use a release with the models of DiffDock-L (v1.1) or of v1.0"
        raise problem(place / PARAMETERS, str(error), remedy) from error


def _loaded(network: Network, path: Path) -> Network:
    load_state(network, read_state(path), path)
    return network.eval().requires_grad_(False)


def model_folder(folder: Path, names: tuple[str, ...]) -> Path:
    """The folder of one model: `folder` itself, or the one of `names` in it.

    Raises:
        InputError: if there is none.
    """
    if not folder.is_dir():
        raise problem(folder, "there is no such folder", _RELEASE)
    for place in (folder, *(folder / name for name in names)):
        if (place / PARAMETERS).is_file() or any(place.glob("*.pt")):
            return place
    raise problem(folder, f"this is no release of DiffDock: no {PARAMETERS} and no .pt here or in {names[0]}", _RELEASE)


def read_parameters(place: Path) -> Mapping[str, Any]:
    """Contents of `model_parameters.yml`.

    Raises:
        InputError: if the file is missing or holds no table of names and values.
    """
    path = place / PARAMETERS
    if not path.is_file():
        raise problem(path, "there is no such file", "unpack the release again: the yaml belongs to the weights")
    return _table(path)


def _table(path: Path) -> Mapping[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        first = " ".join(str(error).split())
        raise problem(path, f"it cannot be read ({first})", "unpack the release again") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise problem(path, "it holds no table of names and values", "unpack the release again")
    return values


def weights_file(place: Path, names: tuple[str, ...]) -> Path:
    """The one of `names` that is there, else the only .pt file.

    Raises:
        InputError: if there is none, or no telling which.
    """
    for name in names:
        if (place / name).is_file():
            return place / name
    found = sorted(place.glob("*.pt"))
    if len(found) == 1:
        return found[0]
    message = f"it holds {len(found)} .pt files and none of them is {names[0]}"
    raise problem(place, message, f"unpack the release again, or leave one .pt file beside {PARAMETERS}")


def read_state(path: Path) -> Mapping[str, Tensor]:
    """Tensors of a state_dict, or of a dict that holds one; no code in the file is run.

    Raises:
        InputError: if the file cannot be read or holds no such thing.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise problem(path, f"it cannot be read as a state_dict ({first})", "unpack the release again") from error
    candidates = [found, *(found.values() if isinstance(found, dict) else ())]
    for candidate in candidates:
        if isinstance(candidate, dict) and candidate and all(isinstance(v, Tensor) for v in candidate.values()):
            return {str(name).removeprefix("module."): value for name, value in candidate.items()}
    raise problem(path, "it holds no state_dict", "unpack the release again")


def load_state(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Copy the tensors into the network; constants of e3nn's products are ignored.

    Raises:
        InputError: naming the first tensors that are missing, unknown, of another shape, or not finite.
    """
    wanted = network.state_dict()
    given = {name: value for name, value in state.items() if not _constant(name)}
    shapes = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    complaints = {
        "lacks": [name for name in wanted if name not in given],
        "has but the network has not": [name for name in given if name not in wanted],
        "has other shapes for": [
            f"{name} {tuple(given[name].shape)}, by the yaml {tuple(wanted[name].shape)}" for name in shapes
        ],
        "has NaN or infinity in": [name for name, value in given.items() if not torch.isfinite(value).all()],
    }
    said = [f"{what} {len(names)} tensors ({_some(names)})" for what, names in complaints.items() if names]
    if said:
        raise problem(path, f"it does not fit {PARAMETERS}: {'; '.join(said)}", "use the yaml that came with it")
    network.load_state_dict(given)


def _constant(name: str) -> bool:
    """Whether a tensor is a coupling or mask of e3nn, which nothing was learned in."""
    return name.endswith((".tp.weight", ".output_mask")) or "_w3j_" in name or name == "final_tp_tor.weight"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
