"""Which proteins a model was trained on, so that it can say whether another one is new to it.

Proteins are compared by their words of six residues, as the training data's clusters were made: two that share more
than 30% of them are alike. ``python -m domains.docking.training.known_proteins --weights NAME --data DIR`` writes those
of the training split to NAME.proteins.npz beside the weights; a training writes its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple, final
from zipfile import BadZipFile

import gemmi
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.console import Console

from domains.docking.networks.shipped import GENERAL, find_weights
from domains.docking.structures.protein import Protein
from domains.docking.structures.protein_files import read_protein
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.trained_on import trained_on
from domains.errors import InputError, InputProblem

ALIKE: Final = 0.3
"""Share of a protein's words in another one, from which on the two count as alike."""

_LENGTH: Final = 6
_LETTERS: Final = "ACDEFGHIKLMNPQRSTVWYX"


class Nearest(NamedTuple):
    """The cluster of training proteins that has most of a protein's words, and the share that it has."""

    name: str
    share: float

    @property
    def is_known(self) -> bool:
        """Whether the protein counts as one that was trained on."""
        return self.share > ALIKE


def words_of(protein: Protein) -> NDArray[np.uint32]:
    """Its different words of six residues in a row of one chain, each as a number."""
    found: list[NDArray[np.uint32]] = []
    base = len(_LETTERS)
    powers = base ** np.arange(_LENGTH, dtype=np.int64)
    for chain in np.unique(protein.chain_index):
        rows = np.flatnonzero((protein.chain_index == chain) & protein.is_amino_acid)
        letters = np.array([_letter(protein.residue_names[i]) for i in rows], dtype=np.int64)
        if len(letters) >= _LENGTH:
            windows = np.lib.stride_tricks.sliding_window_view(letters, _LENGTH)
            found.append((windows @ powers).astype(np.uint32))
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.uint32)


def _letter(residue: str) -> int:
    letter = gemmi.find_tabulated_residue(residue).one_letter_code.upper()
    return _LETTERS.index(letter) if letter in _LETTERS else _LETTERS.index("X")


@final
@dataclass(frozen=True, eq=False)
class KnownProteins:
    """Words of the proteins that were trained on, cluster by cluster.

    Attributes:
        words: name of a cluster -> the words of all of its proteins, sorted.
    """

    words: Mapping[str, NDArray[np.uint32]]

    def nearest(self, protein: Protein) -> Nearest | None:
        """None for a protein without a word, such as a short peptide."""
        own = words_of(protein)
        if not len(own) or not self.words:
            return None
        shares = {name: float(np.isin(own, words, assume_unique=True).mean()) for name, words in self.words.items()}
        name = max(shares, key=lambda cluster: shares[cluster])
        return Nearest(name, shares[name])

    def and_others(self, others: KnownProteins) -> KnownProteins:
        """Both together."""
        names = [*self.words, *(name for name in others.words if name not in self.words)]
        none = np.zeros(0, dtype=np.uint32)
        return KnownProteins({n: np.union1d(self.words.get(n, none), others.words.get(n, none)) for n in names})

    def save(self, path: Path) -> None:
        """Write a .npz file."""
        names, words = list(self.words), list(self.words.values())
        cluster = np.repeat(np.arange(len(names), dtype=np.uint16), [len(own) for own in words])
        together = np.concatenate(words) if words else np.zeros(0, dtype=np.uint32)
        np.savez_compressed(path, names=np.array(names, dtype=np.str_), cluster=cluster, words=together)


def known_of(proteins: Iterable[tuple[str, Protein]], clusters: Clusters) -> KnownProteins:
    """Of the proteins of complexes, (name, protein)."""
    found: dict[str, set[int]] = {}
    done: set[Path] = set()
    for name, protein in proteins:
        if protein.path not in done:
            done.add(protein.path)
            found.setdefault(clusters.of(name), set()).update(words_of(protein).tolist())
    return KnownProteins({name: np.array(sorted(words), dtype=np.uint32) for name, words in found.items()})


def proteins_path(weights: Path | str) -> Path:
    """Where the proteins lie that weights were trained on.

    Raises:
        InputError: if there are no weights of that name.
    """
    path = find_weights(weights)
    return path / "proteins.npz" if path.is_dir() else path.with_suffix(".proteins.npz")


def read_known(weights: Path | None) -> KnownProteins | None:
    """The proteins that weights were trained on; None where no file beside them says so.

    Raises:
        InputError: if that file cannot be used.
    """
    path = None if weights is None else proteins_path(weights)
    if path is None or not path.is_file():
        return None
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as content:
            names, cluster, words = content["names"].tolist(), content["cluster"], content["words"]
        return KnownProteins({str(name): words[cluster == i] for i, name in enumerate(names)})
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        message = f"it holds no list of proteins ({error})"
        raise InputError(InputProblem(str(path), "", message, "remove it, or make it again")) from error


@dataclass(frozen=True)
class Options:
    """Of what training the proteins are."""

    data: tuple[Path, ...]
    """the training data: folders with NAME/protein.pdb"""
    clusters: Path | None = None
    """which proteins are alike, see domains.docking.train"""
    weights: Path = GENERAL
    """that were trained on them; the settings beside them say which were kept out"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Read, and write beside the weights; the exit status."""
    log = Console(stderr=True, highlight=False, soft_wrap=True)
    options = tyro.cli(Options, args=arguments, description=__doc__)
    try:
        found, path = _training_proteins(options), proteins_path(options.weights)
        found.save(path)
    except (InputError, OSError) as error:
        log.print(f"error: {error}", markup=False)
        return 2
    print(f"{path}: {len(found.words)} clusters, {sum(map(len, found.words.values()))} words")
    return 0


def _training_proteins(options: Options) -> KnownProteins:
    kept_out = trained_on(find_weights(options.weights))
    if kept_out is None:
        message = "there are no settings beside them that say which proteins were kept out of training"
        raise InputError(InputProblem(str(options.weights), "", message, "put NAME.yaml beside NAME.safetensors"))
    clusters = Clusters() if options.clusters is None else read_clusters(options.clusters)
    unseen = clusters.grown(kept_out.unseen_targets)
    proteins: list[tuple[str, Protein]] = []
    for folder in options.data:
        paths = sorted(folder.glob("*/protein.pdb"))
        if not paths:
            raise InputError(InputProblem(str(folder), "", "there is no NAME/protein.pdb in it", "give another folder"))
        proteins += [(p.parent.name, read_protein(p)) for p in paths if p.parent.name not in unseen]
    if kept_out.embedded:
        from domains.docking.structures.complexes import read

        proteins += [(found.name, found.protein) for found in read()[0]]
    return known_of(proteins, clusters)


if __name__ == "__main__":
    sys.exit(main())
