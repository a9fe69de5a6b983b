"""Complexes to train on: folders split by name and cluster, and batches of similar size with pockets that vary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from rdkit import Chem

from domains.docking.structures.batch import ComplexBatch, collate
from domains.docking.structures.complexes import Complex, Conformer, read
from domains.docking.structures.pseudo_ligands import PseudoLigands
from domains.docking.structures.text_files import read_names
from domains.docking.training.clusters import Clusters, read_clusters
from domains.docking.training.pockets import PocketVariation
from domains.errors import InputError, InputProblem

SPLITS = Path(__file__).parents[1] / "splits"


@dataclass(frozen=True)
class Split:
    """Complexes by what the network knows of them, and which proteins are alike."""

    train: tuple[Complex, ...]
    ligands: tuple[Complex, ...]  # validation: other ligands of targets in `train`
    targets: tuple[Complex, ...]  # validation: complexes of targets that are not in `train`
    clusters: Clusters

    @property
    def all(self) -> tuple[Complex, ...]:
        """Of the three parts."""
        return (*self.train, *self.ligands, *self.targets)

    def __str__(self) -> str:
        """How much there is of each, in one line."""
        named = {"training": self.train, "held-out ligands": self.ligands, "unseen targets": self.targets}
        return "; ".join(f"{name}: {counts(part, self.clusters)}" for name, part in named.items())


def counts(complexes: Sequence[Complex], clusters: Clusters) -> str:
    """How many poses, different ligands and clusters there are among complexes."""
    ligands = {Chem.MolToSmiles(c.ligand.mol) for c in complexes}
    groups = {clusters.of(c.name) for c in complexes}
    return f"{len(complexes)} poses of {len(ligands)} ligands in {len(groups)} clusters"


def split(
    complexes: Sequence[Complex], ligand_names: set[str], target_names: set[str], clusters: Clusters | None = None
) -> Split:
    """Sort complexes named SERIES/LIGAND by the two validation lists (full names; series names).

    With a series goes everything that is in a cluster with it.
    """
    clusters = clusters or Clusters()
    unseen = clusters.grown(target_names)
    series = {c.name: c.name.split("/")[0] for c in complexes}
    targets = tuple(c for c in complexes if series[c.name] in unseen)
    known = [c for c in complexes if series[c.name] not in unseen]
    ligands = tuple(c for c in known if c.name in ligand_names)
    return Split(tuple(c for c in known if c.name not in ligand_names), ligands, targets, clusters)


def read_split(
    folders: Sequence[Path],
    ligand_list: Path,
    target_list: Path,
    cluster_list: Path | None = None,
    *,
    pocket: str = "ligand",
    conformer: Conformer = "input",
    seed: int = 0,
) -> tuple[Split, list[InputProblem]]:
    """The data folders split by two lists of names, and what of them cannot be used; `pocket`, `conformer` and `seed`
    as in :func:`domains.docking.structures.complexes.read`.

    Raises:
        InputError: if a list cannot be read, or nothing in one of the folders can be used.
    """
    ligands, targets = read_names(ligand_list), read_names(target_list)
    clusters = Clusters() if cluster_list is None else read_clusters(cluster_list)
    complexes: dict[str, Complex] = {}
    problems: list[InputProblem] = []
    for folder in folders:
        found, more = read(folder, pocket=pocket, conformer=conformer, seed=seed)
        problems += more
        if not found:
            raise InputError(more[0])
        for complex_ in found:
            if complex_.name in complexes:
                message = f"the name '{complex_.name}' is used in another folder of --data too"
                problems.append(InputProblem(str(folder), complex_.name, message, "rename one of them"))
            else:
                complexes[complex_.name] = complex_
    return split(list(complexes.values()), ligands, targets, clusters), problems


def cluster_weights(complexes: Sequence[Complex], clusters: Clusters, balance: float) -> list[float]:
    """How often each complex is drawn: a cluster of n complexes n^balance times as often as one of a single one."""
    sizes = Counter(clusters.of(c.name) for c in complexes)
    return [float(sizes[clusters.of(c.name)]) ** (balance - 1) for c in complexes]


@final
class BatchSampler:
    """Draws batches of complexes of similar size, with pockets that vary.

    Args:
        complexes: what to draw from.
        weights: how often each of them is drawn, relative to the others.
        size: complexes a batch; fewer where there are not as many.
        pockets: how they are cut and shaken.
        pseudo_share: of batches that are of ligands cut out of the same proteins instead.
        conformers: name -> (A, 3) Å, a matched conformer of the ligand.
        conformer_share: how often a complex that has one is drawn with it in place of its own coordinates.

    Raises:
        ValueError: if there is no complex.
    """

    def __init__(
        self,
        complexes: Sequence[Complex],
        weights: Sequence[float],
        size: int,
        pockets: PocketVariation,
        pseudo_share: float = 0.0,
        conformers: Mapping[str, NDArray[np.float32]] | None = None,
        conformer_share: float = 0.0,
    ) -> None:
        if not complexes:
            raise ValueError("complexes: got none, at least one is needed")
        order = sorted(range(len(complexes)), key=lambda i: complexes[i].ligand.n_atoms)
        self.complexes = [complexes[i] for i in order]
        self.weights = torch.tensor([weights[i] for i in order], dtype=torch.float64)
        self.size, self.pockets, self.pseudo_share = size, pockets, pseudo_share
        self.conformers, self.conformer_share = conformers or {}, conformer_share
        proteins = {c.name.split("/")[0]: c.protein for c in self.complexes}
        self._pseudo = {name: PseudoLigands(protein) for name, protein in proteins.items()}

    def draw(self, generator: torch.Generator) -> ComplexBatch:
        """`size` complexes: of ligands that are neighbours in the order of size, or cut out of runs of one length."""
        seed = int(torch.randint(2**62, (), generator=generator))
        rng = np.random.default_rng(seed)
        is_pseudo = rng.random() < self.pseudo_share
        chosen = self._pseudo_complexes(generator, rng) if is_pseudo else []
        if not chosen:
            own = [self._with_conformer(self.complexes[i], rng) for i in self._neighbours(generator)]
            chosen = [replace(c, pocket=self.pockets.cut(c.protein, c.ligand.positions, rng)) for c in own]
        return self.pockets.shaken(collate(chosen), generator)

    def _with_conformer(self, complex_: Complex, rng: np.random.Generator) -> Complex:
        match = self.conformers.get(complex_.name)
        if match is None or rng.random() >= self.conformer_share:
            return complex_
        return replace(complex_, ligand=replace(complex_.ligand, positions=match), reference=match)

    def _neighbours(self, generator: torch.Generator) -> list[int]:
        n = len(self.complexes)
        anchor = int(torch.multinomial(self.weights, 1, generator=generator))
        window = max(self.size, n // 6)
        low = max(0, min(anchor - window // 2, n - window))
        near = self.weights[low : low + window]
        others = min(self.size - 1, len(near))
        rows = (torch.multinomial(near, others, generator=generator) + low).tolist() if others else []
        return [anchor, *rows]

    def _pseudo_complexes(self, generator: torch.Generator, rng: np.random.Generator) -> list[Complex]:
        """As many as a batch has; fewer, or none, where the proteins drawn have none to give."""
        length = int(rng.integers(1, 4))
        chosen: list[Complex] = []
        rows = torch.multinomial(self.weights, 4 * self.size, replacement=True, generator=generator)
        for row in rows.tolist():
            source = self.complexes[row]
            found = self._pseudo[source.name.split("/")[0]].draw(rng, length)
            if found is not None:
                ligand, protein = found
                pocket = self.pockets.cut(protein, ligand.positions, rng)
                name = f"{source.name.split('/')[0]}/{ligand.name}"
                chosen.append(Complex(name, ligand, pocket, ligand.positions, protein))
            if len(chosen) == self.size:
                break
        return chosen
