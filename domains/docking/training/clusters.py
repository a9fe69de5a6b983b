"""Which proteins are alike: what is called unseen has to be unlike everything that was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import final

from domains.docking.structures.text_files import read_text
from domains.errors import InputError, InputProblem


@final
class Clusters:
    """Groups of proteins by the names of their folders; one that is in no group is a group of its own.

    Raises:
        ValueError: if a protein is in two groups.
    """

    def __init__(self, groups: Iterable[Sequence[str]] = ()) -> None:
        self._of: dict[str, str] = {}
        for group in groups:
            for name in group:
                if name in self._of:
                    raise ValueError(f"{name} is in two clusters")
                self._of[name] = group[0]

    def of(self, name: str) -> str:
        """The cluster of a protein, or of a complex PROTEIN/LIGAND: the name of its first member."""
        protein = name.split("/")[0]
        return self._of.get(protein, protein)

    def grown(self, names: Iterable[str]) -> set[str]:
        """These proteins and all that are in a cluster with one of them."""
        wanted = {self.of(name) for name in names}
        return wanted | set(names) | {name for name, cluster in self._of.items() if cluster in wanted}


def read_clusters(path: Path) -> Clusters:
    """From a text file: one cluster a line, members separated by tabs; # starts a comment.

    A member is the path of a protein's folder, of which the last part is its name.

    Raises:
        InputError: if the file cannot be read, or a protein is in two clusters.
    """
    lines = (line.split("#")[0].strip() for line in read_text(path, "a list of clusters").splitlines())
    try:
        return Clusters([Path(member).name for member in line.split("\t")] for line in lines if line)
    except ValueError as error:
        problem = InputProblem(str(path), "", str(error), "keep it in one of them")
        raise InputError(problem) from error
