"""What a model was trained on, from the settings that lie beside its weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import yaml

from domains.docking.networks.shipped import find_weights
from domains.docking.structures.text_files import read_names, read_text
from domains.docking.training.config import TrainConfig
from domains.errors import InputError, InputProblem

_ROOT: Final = Path(__file__).parents[3]


@final
@dataclass(frozen=True)
class TrainedOn:
    """What a training kept out.

    Attributes:
        embedded: whether it was on the four complexes of the posebusters package as well.
        held_out_ligands: names of complexes, TARGET/LIGAND, of targets that it saw other ligands of.
        unseen_targets: names of targets that it saw nothing of.
    """

    embedded: bool
    held_out_ligands: frozenset[str]
    unseen_targets: frozenset[str]


def trained_on(weights: Path) -> TrainedOn | None:
    """From NAME.yaml beside NAME.safetensors, or the config.yaml beside a training's weights.safetensors; None without.

    Of weights that others were the start of, what both were kept from.

    Raises:
        InputError: if that file, or a list that it names, cannot be read.
    """
    places = [weights.with_suffix(".yaml")]
    if weights.name == "weights.safetensors":  # another file may lie beside anybody's config.yaml
        places.append(weights.with_name("config.yaml"))
    path = next((place for place in places if place.is_file()), None)
    if weights.is_dir() or path is None:
        return None
    try:
        settings = yaml.safe_load(read_text(path, "settings of a training"))
        start = settings.get("start")
        embedded = float(settings.get("embedded_weight", TrainConfig.embedded_weight)) > 0
        lists = {
            name: Path(settings.get(name, getattr(TrainConfig, name)))
            for name in ("validation_ligands", "validation_targets")
        }
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        message = f"it holds no settings of a training ({error})"
        raise InputError(InputProblem(str(path), "", message, "remove it, or give that of the weights")) from error
    ligands, targets = (read_names(_found(lists[name])) for name in ("validation_ligands", "validation_targets"))
    own = TrainedOn(embedded, frozenset(ligands), frozenset(targets))
    return own if start is None else _after(trained_on(find_weights(start)), own)


def _after(first: TrainedOn | None, then: TrainedOn) -> TrainedOn | None:
    if first is None:
        return None
    return TrainedOn(
        first.embedded or then.embedded,
        first.held_out_ligands & then.held_out_ligands,
        first.unseen_targets & then.unseen_targets,
    )


def _found(path: Path) -> Path:
    """A list as the settings name it: from here, or from the folder that the toolkit is in."""
    return path if path.exists() or path.is_absolute() else _ROOT / path
