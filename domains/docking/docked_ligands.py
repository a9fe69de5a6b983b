"""What one call of `dock` with files returns: poses of each ligand, to look at in a notebook and to write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from html import escape
from pathlib import Path
from typing import Any, Final, final

from domains.docking.dock_options import DockOptions
from domains.docking.dock_results import check_folder, folders_of, write_ligand, write_summary
from domains.docking.ranked_poses import RankedPose, RankedPoses
from domains.errors import InputProblem

_MOST_SHOWN: Final = 20  # rows of a table in a notebook


@final
@dataclass(frozen=True, eq=False)
class Docked:
    """What came of docking: the poses of each ligand, best first, and what could not be docked.

    Attributes:
        ligands: in the order of the input.
        problems: what of the input was left out.
        remarks: about the run as a whole.
        options: that it was docked with.
    """

    ligands: tuple[RankedPoses, ...]
    problems: tuple[InputProblem, ...]
    remarks: tuple[str, ...]
    options: DockOptions

    @property
    def poses(self) -> list[RankedPose]:
        """All poses of all ligands: those of the first ligand, best first, then those of the second, ..."""
        return [pose for ligand in self.ligands for pose in ligand]

    @property
    def best(self) -> RankedPose:
        """The best pose of the first ligand."""
        return self.ligands[0].best

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One a pose, in the order of `poses`, as `pandas.DataFrame` takes them; `mol` is the molecule at the pose."""
        return [_row(ligand.complex.name, pose) for ligand in self.ligands for pose in ligand]

    def write(self, out: Path | str, *, report: bool = True) -> Path:
        """Write the files that `ld3 dock` writes, with report.html if asked for; the folder.

        Raises:
            InputError: if the folder holds results of another kind.
            OSError: if it cannot be written.
        """
        out = Path(out)
        check_folder(out, len(self.ligands) == 1)
        folders = folders_of(out, [own.complex.name for own in self.ligands])
        config = config_of(self.options)
        contents = {own.complex.name: write_ligand(folders[own.complex.name], own, "", config) for own in self.ligands}
        write_summary(out, folders, contents, self.problems, self.remarks, config)
        if report:
            from domains.docking.report import write_report

            write_report(out)
        return out

    def _repr_html_(self) -> str:
        rows = self.rows
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "mol"]
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(_shown(row.get(name)))}</td>" for name in names) + "</tr>"
            for row in rows[:_MOST_SHOWN]
        )
        more = f"<p>... and {len(rows) - _MOST_SHOWN} poses more</p>" if len(rows) > _MOST_SHOWN else ""
        said = "".join(f"<p>{escape(str(line))}</p>" for line in (*self.remarks, *self.problems))
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}{said}"


def config_of(options: DockOptions) -> dict[str, Any]:
    """Options as JSON has them."""
    plain = {field.name: getattr(options, field.name) for field in fields(options)}
    found: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return found


def _row(name: str, pose: RankedPose) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "rank": pose.rank, "score": pose.score}
    row |= {f"score_{part}": value for part, value in pose.parts.items()}
    row |= {"cluster": pose.cluster, "sample": pose.sample}
    optional: Mapping[str, Any] = {
        "valid": pose.validity and pose.validity.valid,
        "moved_by_refinement": pose.moved,
        "rmsd": pose.rmsd,
    }
    return row | {key: value for key, value in optional.items() if value is not None} | {"mol": pose.mol}


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
