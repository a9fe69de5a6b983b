"""Weights of the combination of rankers that were chosen for a network's weights, in a file beside these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple

from domains.docking.networks.shipped import SHIPPED, find_weights
from domains.docking.ranking.track_record import TrackRecord, read_records
from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem

_OTHERWISE: Final = SHIPPED["demo"]


class StoredWeights(NamedTuple):
    """weights  name of a ranker -> its weight.
    path     of the file.
    own      whether they were chosen for these weights of the network, and not for others.
    records  "known" and "unseen" targets -> how often first poses were right, of the weights that the file is beside.
    setting  in which the records were made, in words.
    poses    that each of their ligands had, refined and ranked by `weights`; 0 where there are no records.
    origin   what they were chosen for and fitted on, in words.
    """

    weights: dict[str, float]
    path: Path
    own: bool
    records: dict[str, list[TrackRecord]]
    setting: str
    poses: int
    origin: str = ""


def weights_path(network: Path | str) -> Path:
    """Where ``python -m benchmarks.experiments.ranking --store`` puts what it chose: NAME.ranking.json beside
    NAME.safetensors, ranking.json in a folder.

    Raises:
        InputError: if there are no weights of that name.
    """
    path = find_weights(network)
    return path / "ranking.json" if path.is_dir() else path.with_suffix(".ranking.json")


def stored_weights(network: Path | None) -> StoredWeights:
    """Those that were chosen for the weights of a network, or those of the demo weights where none were.

    Raises:
        InputError: if the file cannot be used.
    """
    own = None if network is None else weights_path(network)
    path = own if own is not None and own.is_file() else weights_path(_OTHERWISE)
    try:
        content = json.loads(read_text(path, "weights of rankers"))
        weights = {str(name): float(weight) for name, weight in content["weights"].items()}
        records = read_records(content.get("records", {}))
        poses = int(content["poses"]) if records else 0
        origin = "; fitted on ".join(str(content[name]) for name in ("chosen", "fitted_on") if name in content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        remedy = "make it again with benchmarks.experiments.ranking --store, or remove it"
        message = f"it holds no weights of rankers ({type(error).__name__}: {error})"
        raise InputError(InputProblem(str(path), "", message, remedy)) from error
    return StoredWeights(weights, path, path == own, records, str(content.get("setting", "")), poses, origin)
