"""What a docking run or a screen left in its folder, as a report needs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from rdkit import Chem, rdBase

from domains.errors import InputError, InputProblem

DOCK: Final = "ld3.docking.run"
RUNS: Final = "ld3.docking.runs"
SCREEN: Final = "ld3.docking.screen"
_POSES: Final = {DOCK: "poses.sdf", SCREEN: "best.sdf"}


@final
@dataclass(frozen=True, eq=False)
class Results:
    """One page's worth of results.

    Attributes:
        folder: they are from.
        run: run.json.
        poses: best first, heavy atoms, with their tags as properties.
        receptor: PDB file.
        reference: the known pose; None where there is none.
    """

    folder: Path
    run: Mapping[str, Any]
    poses: tuple[Chem.Mol, ...]
    receptor: Path
    reference: Chem.Mol | None

    @property
    def is_screen(self) -> bool:
        """Whether each pose is of another ligand."""
        return self.run["schema"] == SCREEN


def read_results(folder: Path) -> Results | None:
    """The results in a folder; None if there are none in the folder itself.

    Raises:
        InputError: if a file of theirs is missing or damaged.
    """
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text())
    except OSError:
        return None
    except ValueError as error:
        raise _damaged(path, f"it is no JSON ({error})") from error
    schema = run.get("schema") if isinstance(run, dict) else None
    if schema not in _POSES:
        return None
    if not (folder / "receptor.pdb").exists():
        raise _damaged(folder / "receptor.pdb", "there is no such file")
    reference = folder / "reference.sdf"
    poses = _read_sdf(folder / _POSES[schema])
    known = _read_sdf(reference)[0] if reference.exists() else None
    return Results(folder, run, poses, folder / "receptor.pdb", known)


def folders_below(folder: Path) -> list[Path]:
    """Those with results of their own: of the run of several ligands that the folder holds, else all by their names."""
    try:
        run = json.loads((folder / "run.json").read_text())
    except (OSError, ValueError):
        run = None
    if isinstance(run, dict) and run.get("schema") == RUNS:
        return [folder / place for place in run["folders"].values()]
    return sorted(path.parent for path in folder.rglob("run.json") if path.parent != folder)


def _read_sdf(path: Path) -> tuple[Chem.Mol, ...]:
    if not path.exists():
        raise _damaged(path, "there is no such file")
    with rdBase.BlockLogs():
        found = tuple(Chem.SDMolSupplier(str(path)))
    if not found or any(mol is None for mol in found):
        raise _damaged(path, "a pose in it cannot be read" if found else "there is no pose in it")
    return found


def _damaged(path: Path, message: str) -> InputError:
    return InputError(InputProblem(str(path), "", message, "dock again into another folder"))
