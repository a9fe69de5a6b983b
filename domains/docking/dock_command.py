"""`ld3 dock`: files in, ranked poses out. A thin layer over :func:`domains.docking.dock`'s parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from domains.docking.dock_options import DockOptions

_PAGE = 110  # characters a line where there is no terminal to ask

if TYPE_CHECKING:
    from rich.console import Console

    from domains.docking.ranked_docking import DockPlan
    from domains.docking.structures.complexes import Complex


@dataclass(frozen=True)
class Dock(DockOptions):
    """Dock ligands into a protein and rank their poses."""

    protein: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="PROTEIN")] = None
    """a PDB or mmCIF file"""
    ligand: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="LIGAND")] = None
    """a ligand file (.sdf, .mol, .mol2), or a SMILES"""
    csv: Path | None = None
    """instead of the two files: a table with the columns complex_name, protein_path, ligand_description, as DiffDock
    reads them"""
    out: Path = Path("out/dock")
    """folder for the results: poses.sdf (best first), best.sdf, summary.csv, failures.csv, run.json and receptor.pdb
    of one ligand, a folder with these for each of several; a run that was interrupted goes on where it was"""
    diffdock_layout: bool = False
    """also write NAME/rank1.sdf, NAME/rank1_confidence-0.12.sdf, ..., as DiffDock does"""
    report: bool = True
    """write report.html, a page to look at the poses: one for each ligand, and one that leads to them"""

    def run(self) -> int:
        """Dock; the exit status."""
        from rich.console import Console

        from domains.exits import run_command

        log = Console(stderr=True, highlight=False, soft_wrap=True)
        less_memory = "dock in a smaller --pocket, or on another --device"
        return run_command(partial(_dock, self, log), log, less_memory, self.out)


def _dock(command: Dock, log: Console) -> int:
    from domains.docking.dock_files import plan_of, read_inputs
    from domains.docking.dock_results import check_folder, write_failures
    from domains.docking.structures.remarks import print_reading
    from domains.exits import CANNOT_RUN
    from domains.folder_lock import locked
    from domains.options import prepare_folder

    source = _source(command)
    prepare_folder(command.out)
    with locked(command.out):
        plan, remarks = plan_of(command)
        complexes, problems = read_inputs(source, command, plan.model)
        print_reading(complexes, problems, log)
        if not complexes:
            write_failures(command.out / "failures.csv", problems, {})
            log.print(f"error: nothing can be docked; the reasons are in {command.out / 'failures.csv'}", markup=False)
            return CANNOT_RUN
        for remark in remarks:
            log.print(f"note: {remark}", markup=False)
        check_folder(command.out, len(complexes) == 1)
        return _Run(command, plan, complexes, problems, remarks, log).run()


def _source(command: Dock) -> Any:  # noqa: ANN401
    from domains.docking.structures.pairs import Pair
    from domains.options import mistake

    given = command.protein is not None, command.ligand is not None
    if command.csv is not None:
        if any(given):
            raise mistake("csv", "a protein or a ligand was given as well", "give the table, or the two files")
        return command.csv
    if command.protein is None or command.ligand is None:
        missing = "LIGAND" if command.protein is not None else "PROTEIN and LIGAND"
        raise mistake("csv", f"{missing} and --csv are missing", "ld3 dock protein.pdb ligand.sdf, or --csv jobs.csv")
    return Pair(command.protein, command.ligand)


def print_table(contents: Sequence[Mapping[str, Any]]) -> None:
    """On standard output: the best pose of each cluster of one ligand's, or the best one of each ligand."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    alone = len(contents) == 1
    poses = contents[0]["poses"] if alone else [content["summary"] for content in contents]
    best: dict[str, Mapping[str, str]] = {}
    for row in poses if alone else ():
        best.setdefault(row["cluster"], row)
    rows = list(best.values()) if alone else poses
    wanted = ("rank", "name", "score", "cluster", "cluster_size", "poses", "valid", "rmsd")
    columns = [
        name
        for name in dict.fromkeys(name for row in rows for name in row)
        if (name in wanted or name.startswith("score_")) and not (alone and name == "name")
        if any(row.get(name) for row in rows)
        # The one part of a score says no more than the score.
        if not (name.startswith("score_") and all(row.get(name) == row.get("score") for row in rows))
    ]
    table = Table(title=contents[0]["name"] if alone else "best poses", box=SIMPLE)
    table.caption = "a higher score is better"
    if len(rows) < len(poses):
        table.caption = f"the best pose of each cluster; all {len(poses)} are in poses.sdf; {table.caption}"
    for column in columns:
        table.add_column(column, justify="left" if column == "name" else "right")
    for row in rows:
        table.add_row(*(row.get(column, "") for column in columns))
    console = Console()
    (console if console.is_terminal else Console(width=_PAGE)).print(table)


class _Run:
    """Docks what is not docked yet, and writes as it goes."""

    def __init__(
        self,
        command: Dock,
        plan: DockPlan,
        complexes: Sequence[Complex],
        problems: Sequence[Any],
        remarks: Sequence[str],
        log: Console,
    ) -> None:
        from domains.docking.dock_results import folders_of
        from domains.docking.docked_ligands import config_of
        from domains.docking.poses.files import folder_names

        self.command, self.plan, self.complexes, self.log = command, plan, complexes, log
        self.problems, self.remarks = list(problems), list(remarks)
        names = [found.name for found in complexes]
        self.folders = folders_of(command.out, names)
        self.layouts = {name: command.out / folder for name, folder in folder_names(names).items()}
        self.contents: dict[str, dict[str, Any]] = {}
        self.config = config_of(command)

    def run(self) -> int:
        from domains.docking.dock_results import write_diffdock_layout, write_ligand
        from domains.docking.ranked_docking import dock_ranked
        from domains.docking.ranked_poses import RankedPoses
        from domains.exits import CANNOT_RUN
        from domains.progress import WorkProgress

        left = [found for found in self.complexes if not self._is_done(found)]
        if kept := len(self.complexes) - len(left):
            self.log.print(f"{kept} of {len(self.complexes)} are docked already", markup=False)
        poses = self.plan.samples * len(left)
        with WorkProgress(self.log, {"docking": float(self.plan.sampler.nfe * poses)}) as bar, bar.stage("docking"):
            for found in dock_ranked(self.plan, left, bar.follow()):
                if not isinstance(found, RankedPoses):
                    self.problems.append(found)
                    self.log.print(f"warning: {found}", markup=False)
                    continue
                name = found.complex.name
                self.contents[name] = write_ligand(self.folders[name], found, self._key(found.complex), self.config)
                if self.command.diffdock_layout:
                    write_diffdock_layout(self.layouts[name], found)
                self._write_summary()
        self._write_summary()
        if not self.contents:
            self.log.print("error: nothing was docked; the reasons are above", markup=False)
            return CANNOT_RUN
        if self.command.report:
            self._write_report()
        done = [self.contents[found.name] for found in self.complexes if found.name in self.contents]
        print_table(done)
        for sentence in done[0].get("expectation", ()) if len(self.complexes) == 1 else ():
            print(sentence)
        self.log.print(f"written to {self.command.out}", markup=False)
        return 0

    def _write_report(self) -> None:
        from domains.docking.report import write_report
        from domains.errors import InputError

        try:
            self.log.print(f"to look at: {write_report(self.command.out)}", markup=False)
        except InputError as error:  # the poses are there, and count more than the page
            self.log.print(f"warning: no report: {error}", markup=False)

    def _key(self, complex_: Complex) -> str:
        """Hash of all that the files of a ligand depend on."""
        from domains.docking.dock_results import versions
        from ld3.fingerprint import fingerprint

        plan, ligand, pocket = self.plan, complex_.ligand, complex_.pocket
        shapes = (ligand.positions, ligand.atom_features, ligand.bond_index, ligand.bond_type, ligand.torsion_bonds)
        structure = (*shapes, pocket.positions, complex_.protein.positions, complex_.reference)
        hashes = [part if part is None else part.tobytes() for part in structure]
        layout = self.command.diffdock_layout
        return fingerprint(complex_.name, hashes, plan.identity, plan.check, dict(plan.tags), layout, versions())

    def _is_done(self, complex_: Complex) -> bool:
        file = self.folders[complex_.name] / "run.json"
        try:
            content = json.loads(file.read_text())
        except (OSError, ValueError):
            return False
        if content.get("key") != self._key(complex_):
            said = (
                f"note: {file.parent} holds poses of {content.get('name')} by other options or files: they are replaced"
            )
            self.log.print(said, markup=False)
            return False
        self.contents[complex_.name] = content
        return True

    def _write_summary(self) -> None:
        from domains.docking.dock_results import write_summary

        write_summary(self.command.out, self.folders, self.contents, self.problems, self.remarks, self.config)
