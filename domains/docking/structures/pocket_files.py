"""Where to dock, as a person writes it: words, or a file with a ligand that lies there."""

from __future__ import annotations

from pathlib import Path

from domains.docking.structures.ligand_files import LIGAND_SUFFIXES, read_ligands
from domains.docking.structures.pocket import PocketChoice
from domains.errors import InputError, InputProblem


def read_pocket_choice(text: str) -> PocketChoice:
    """As :meth:`PocketChoice.parse`, and from FILE or FILE:RADIUS: around the first ligand of a file, wherever the
    ligand that is docked lies.

    Raises:
        ValueError: if it is none of these.
        InputError: if the file holds no ligand that can be read.
    """
    file, colon, radius = text.rpartition(":")
    if not (colon and file.lower().endswith(LIGAND_SUFFIXES)):
        file, radius = text, ""
    if not file.lower().endswith(LIGAND_SUFFIXES):
        return PocketChoice.parse(text)
    try:
        reach = float(radius) if radius else PocketChoice().radius
    except ValueError as error:
        raise ValueError(f"pocket is '{text}'; give a number of Å after the file, such as {file}:6") from error
    first = next(read_ligands(Path(file)), None)
    if isinstance(first, InputProblem):
        raise InputError(first)
    if first is None:
        raise InputError(
            InputProblem(file, "", "there is no ligand in it", "give the ligand that the pocket is around")
        )
    if first.pose is None:
        raise InputError(InputProblem(file, first.name, "it is a drawing and lies nowhere", "give its 3-D coordinates"))
    points = tuple((float(x), float(y), float(z)) for x, y, z in first.pose)
    return PocketChoice("points", reach, points=points, source=Path(file).name)
