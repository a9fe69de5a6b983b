"""The complexes of the validation lists that studies of docking dock: held-out ligands, and unseen clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from domains import docking
from domains.docking.learn_grids import one_of_each
from domains.docking.networks.weights import DockingModel
from domains.docking.structures.complexes import Complex, Conformer
from domains.docking.structures.remarks import print_reading
from domains.docking.training.clusters import Clusters
from domains.docking.training.data import SPLITS
from domains.errors import InputError, InputProblem
from domains.options import mistake

KNOWN: Final = "held-out ligands of known targets"
UNSEEN: Final = "unseen clusters"

LISTS: Final = {KNOWN: SPLITS / "validation_ligands.txt", UNSEEN: SPLITS / "validation_clusters.txt"}


def read_listed(
    folders: Sequence[Path],
    names: Path,
    pocket: str,
    conformer: Conformer,
    seed: int,
    model: DockingModel,
    log: Console,
) -> list[Complex]:
    """The complexes of a list, as the model docks them, in the order of the folders; the log says which are left out
    because they cannot be used.

    Raises:
        InputError: if one of the folders is none, or the list cannot be read.
    """
    found: list[Complex] = []
    refused: list[InputProblem] = []
    for folder in folders:
        part, problems = docking.read(folder, pocket=pocket, conformer=conformer, only=names, seed=seed)
        if not part and not folder.is_dir():
            raise InputError(problems[0])
        found += part
        refused += problems
    usable, problems = model.prepare(found)
    print_reading((), [*refused, *problems], log)
    return usable


def validation_set(
    folders: Sequence[Path],
    name: str,
    limit: int | None,
    clusters: Clusters,
    model: DockingModel,
    *,
    pocket: str,
    conformer: Conformer,
    seed: int,
    log: Console,
) -> list[Complex]:
    """At most `limit` complexes of `KNOWN` or `UNSEEN`, drawn with the seed: one of each cluster before a second one.

    Raises:
        InputError: as :func:`read_listed`, and if there are none.
    """
    found = read_listed(folders, LISTS[name], pocket, conformer, seed, model, log)
    if not found:
        raise mistake("complexes", f"there are no {name} in them", "give the folders of the validation lists")
    order = np.random.default_rng(seed).permutation(len(found)).tolist()
    return one_of_each([found[i] for i in order], clusters)[:limit]


def by_cluster(values: Mapping[str, NDArray[Any]], clusters: Clusters) -> list[NDArray[np.float64]]:
    """What belongs to the complexes of one cluster in one array, for intervals over clusters; complex -> (n,)."""
    groups: dict[str, list[NDArray[Any]]] = {}
    for name, own in values.items():
        groups.setdefault(clusters.of(name), []).append(own)
    return [np.concatenate(own).astype(np.float64) for own in groups.values()]
