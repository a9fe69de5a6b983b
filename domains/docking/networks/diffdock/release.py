"""Release folders of DiffDock: `model_parameters.yml` beside a state_dict."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import yaml
from torch import Tensor, nn

from domains.docking.networks.diffdock.confidence import ConfidenceConfig, ConfidenceModel
from domains.docking.networks.diffdock.config import DiffDockConfig
from domains.docking.networks.diffdock.network import DiffDockScoreModel
from domains.weight_files import problem

SCORE_FOLDERS: Final = ("score_model", "paper_score_model")
SCORE_WEIGHTS: Final = ("best_ema_inference_epoch_model.pt",)
CONFIDENCE_FOLDERS: Final = ("confidence_model", "paper_confidence_model")
CONFIDENCE_WEIGHTS: Final = ("best_model_epoch75.pt",)
PARAMETERS: Final = "model_parameters.yml"

Network = TypeVar("Network", bound=nn.Module)

_RELEASE: Final = "give the unpacked folder of a DiffDock release, such as workdir/v1.1, or its score_model"
_NAMED: Final = 3


def load_score_model(folder: Path) -> DiffDockScoreModel:
    """The score network of a release, in evaluation mode.

    Args:
        folder: of the release, with `score_model` in it, or that folder itself.

    Raises:
        InputError: if the folder is no release, a file is missing or cannot be read (the weights are opened without
            running any code in them), an option is not supported, or keys or shapes do not fit the yaml.

    Warns:
        UserWarning: if the model was trained with `crop_beyond`, which is not applied here.
    """
    model = _load(folder, SCORE_FOLDERS, SCORE_WEIGHTS, lambda p: DiffDockScoreModel(DiffDockConfig.from_parameters(p)))
    if model.config.crop_beyond is not None:
        warnings.warn(
            f"{folder}: crop_beyond = {model.config.crop_beyond:g} Å is not applied, so that scores differ from the "
            "published code's where residues lie farther than that from the ligand; give the pocket's residues alone",
            stacklevel=2,
        )
    return model


def load_confidence_model(folder: Path) -> ConfidenceModel:
    """The confidence model of a release, in evaluation mode; arguments and errors as :func:`load_score_model`."""
    return _load(
        folder,
        CONFIDENCE_FOLDERS,
        CONFIDENCE_WEIGHTS,
        lambda p: ConfidenceModel(ConfidenceConfig.from_parameters(p)),
    )


def _load(
    folder: Path, folders: tuple[str, ...], files: tuple[str, ...], build: Callable[[Mapping[str, Any]], Network]
) -> Network:
    place = model_folder(folder, folders)
    parameters = read_parameters(place)
    try:
        network = build(parameters)
    except ValueError as error:
        remedy = "use a release with the models of DiffDock-L (v1.1)"
        raise problem(place / PARAMETERS, str(error), remedy) from error
    path = weights_file(place, files)
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
    try:
        parameters = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise problem(path, f"it cannot be read ({error})", "unpack the release again") from error
    if not isinstance(parameters, dict) or not all(isinstance(name, str) for name in parameters):
        raise problem(path, "it holds no table of names and values", "unpack the release again")
    return parameters


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
