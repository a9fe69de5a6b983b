"""What is docked: complexes from the user's files, and what the model knows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.docking.options import Options
from domains import docking
from domains.docking.networks.shipped import find_weights
from domains.docking.networks.weights import DockingModel
from domains.docking.structures.complexes import Complex
from domains.docking.structures.symmetry import automorphisms
from domains.docking.structures.text_files import read_names
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.trained_on import trained_on
from domains.errors import InputError, InputProblem

IN_SAMPLE, KNOWN_TARGETS, UNSEEN_TARGETS, USER = (
    "in-sample",
    "known targets, validation",
    "unseen targets",
    "user",
)

SPLIT_MEANS: Mapping[str, str] = {
    IN_SAMPLE: "the network was trained on these complexes",
    KNOWN_TARGETS: "the network knows other ligands of these targets; numbers such as the score scale may have been "
    "chosen on this split",
    UNSEEN_TARGETS: "training has seen no complex of these targets",
    USER: "it is not known here whether the network has seen such complexes",
}


@dataclass(frozen=True, eq=False)
class Inputs:
    """What is docked, and what cannot be.

    Attributes:
        complexes: in the order of the user's files.
        symmetries: complex -> permutations of its ligand's atoms that leave the molecule as it is.
        problems: records that were left out, and remarks.
        split: what the weights know of the complexes, a key of SPLIT_MEANS.
        clusters: which proteins are alike, where that is said.
    """

    complexes: tuple[Complex, ...]
    symmetries: Mapping[str, NDArray[np.intp]]
    problems: tuple[InputProblem, ...]
    split: str
    clusters: Clusters | None = None


def load(options: Options, model: DockingModel) -> Inputs:
    """Read the complexes as the model docks them; one that cannot be used is a problem and does not stop the others.

    Raises:
        InputError: if the list of names, or that of clusters, cannot be read.
    """
    clusters = None if options.clusters is None else read_clusters(options.clusters)
    complexes, problems = docking.read(
        options.complexes,
        pocket=options.pocket,
        conformer=options.conformer,
        known_poses=options.known_poses or None,
        only=options.only,
        seed=options.seed,
        template=options.template,
        drop=options.drop,
        keep=options.keep,
    )
    complexes, refused = model.prepare(complexes)
    problems += refused
    kept: list[Complex] = []
    symmetries: dict[str, NDArray[np.intp]] = {}
    for found in complexes:
        try:
            symmetries[found.name] = automorphisms(found.ligand)
        except InputError as error:
            if found.reference is not None:
                problems.append(replace(error.problem, file=found.name))
                continue
            # Nobody asks for an RMSD to a bound pose; its poses are compared with each other atom by atom.
            symmetries[found.name] = np.arange(found.ligand.n_atoms)[None]
            remark = f"{error.problem.message}: distances between its poses are not corrected for them"
            found = replace(found, remarks=(*found.remarks, remark))
        kept.append(found)
    return Inputs(tuple(kept), symmetries, tuple(problems), _split(options), clusters)


def _split(options: Options) -> str:
    """What the settings beside the weights say of the embedded complexes, and of the two lists of what was kept out.

    Raises:
        InputError: if the settings or the list of names cannot be read.
    """
    known = trained_on(find_weights(options.weights))
    if known is None:
        return USER
    if options.complexes is None:
        return IN_SAMPLE if known.embedded else UNSEEN_TARGETS
    names = frozenset() if options.only is None else read_names(options.only)
    if names and names <= known.held_out_ligands:
        return KNOWN_TARGETS
    return UNSEEN_TARGETS if names and names <= known.unseen_targets else USER
