"""A screen from options to results: what it depends on, the loop over chunks, and the files at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, final

from numpy.typing import NDArray
from rich.console import Console

from domains.docking.dock_files import NOT_BLIND, plan_of, pocket_of
from domains.docking.dock_options import AROUND_LIGAND, DockOptions
from domains.docking.report import write_report
from domains.docking.screen import run_file
from domains.docking.screen.chunks import Chunk, chunks
from domains.docking.screen.engines import Engine, RayEngine, local_engine, worker_is_gone
from domains.docking.screen.library import Library
from domains.docking.screen.receptor import Receptor, read_receptor
from domains.docking.screen.results import Failures, Parts, write_best
from domains.docking.screen.seen import Seen
from domains.docking.screen.settings import SHARED, ScreenOptions
from domains.docking.screen.worker import Job, Row
from domains.docking.structures.ligand import from_smiles
from domains.docking.structures.pocket import is_whole
from domains.errors import InputError, InputProblem
from domains.folder_lock import locked
from domains.progress import WorkProgress
from ld3.fingerprint import fingerprint

_BEAT: Final = 1.0  # s between looks at the clock while nothing is done
_PACKAGES: Final = ("torch", "rdkit", "gemmi", "numpy", "pyarrow")
_PROBE: Final = "CCO"
_STAGE: Final = "screen"


@final
@dataclass(frozen=True)
class Outcome:
    """What a start of a screen has left.

    Attributes:
        docked, duplicates, failed: rows, of all starts.
        given_up: chunks whose workers died; they are tried again at the next start.
        best: ligands in best.sdf.
    """

    docked: int
    duplicates: int
    failed: int
    given_up: int
    best: int


def screen(options: ScreenOptions, console: Console) -> Outcome:
    """Dock the library.

    Args:
        options: what is asked for.
        console: where remarks and progress go.

    Raises:
        InputError: for what a person can mend, before anything is docked.
    """
    options.check()
    library = Library(options.library, options.smiles_column, options.name_column)
    job, remarks = read_job(options)
    _say(remarks, console)
    return run(
        library,
        options.out,
        job_identity(job),
        options.chunk,
        options.best,
        lambda: _engine(options, job),
        console,
        job.receptor,
    )


def run(
    library: Library,
    out: Path,
    identity: Mapping[str, Any],
    size: int,
    best: int,
    engine: Callable[[], Engine],
    console: Console,
    receptor: Receptor | None = None,
) -> Outcome:
    """Work through a library in chunks of `size`, whatever the engine makes of them.

    Args:
        library: what to go through.
        out: folder of the results.
        identity: what rows depend on beside the library.
        size: records a chunk.
        best: ligands in best.sdf.
        engine: makes the engine, when it is needed.
        console: where remarks and progress go.
        receptor: whose remarks are said and whose protein is kept as receptor.pdb.

    Raises:
        InputError: if the library cannot be read to its end, or the folder holds something else.
    """
    total = sum(1 for _ in library.entries())  # before anything is docked, so that a damaged file is refused
    if total == 0:
        raise InputError(InputProblem(str(library.path), "", "there are no ligands in it", "give one a record"))
    depends_on = {"library": library.hash(), "records": total, "chunk": size, **identity}
    with locked(out):
        goes_on = run_file.begin(out, depends_on)
        parts = Parts(out / "parts")
        failures = Failures(out / "failures.csv", parts)
        if receptor is not None:
            _say(receptor.remarks, console)
            (out / "receptor.pdb").write_text("\n".join([*receptor.protein.pdb_lines, "END\n"]))
        done = sum(_records(chunk, size, total) for chunk in parts.done)
        if goes_on:
            left = "going on" if done < total else "nothing is left to dock"
            _say([f"{out} holds {done} of {total} ligands; {left}"], console)
        began = time.monotonic()
        with Seen(out / "seen.sqlite") as seen:
            given_up = _loop(library, size, seen, parts, failures, engine, (done, total), console)
        failures.rewrite()
        counts = _counts(parts)
        found = write_best(out, parts, best)
        about = {
            "complete": given_up == 0,
            "counts": counts,
            "seconds_of_last_start": time.monotonic() - began,
            "remarks": list(receptor.remarks) if receptor else [],
            "versions": {name: version(name) for name in _PACKAGES},
        }
        run_file.write(out, depends_on, about)
        if found and receptor is not None:
            _say([f"to look at: {write_report(out)}"], console)
    return Outcome(counts["docked"], counts["duplicate"], counts["failed"], given_up, found)


def _loop(
    library: Library,
    size: int,
    seen: Seen,
    parts: Parts,
    failures: Failures,
    engine: Callable[[], Engine],
    progress: tuple[int, int],
    console: Console,
) -> int:
    """Work through what is not done; how many chunks were given up."""
    done, total = progress
    todo = chunks(library, size, seen, parts.done.__contains__)
    first = next(todo, None)
    if first is None:
        return 0
    given_up = 0
    at_work = engine()
    pending: dict[Future[list[Row]], Chunk] = {}
    try:
        with WorkProgress(console, {_STAGE: total - done}, unit="ligands", per_hour=True) as bar, bar.stage(_STAGE):
            waiting: Chunk | None = first
            while waiting is not None or pending:
                while waiting is not None and len(pending) < at_work.capacity:
                    pending[at_work.submit(waiting)] = waiting
                    waiting = next(todo, None)
                ready, _ = wait(pending, timeout=_BEAT, return_when=FIRST_COMPLETED)
                for future in ready:
                    chunk = pending.pop(future)
                    error = future.exception()
                    if error is not None and worker_is_gone(error):
                        given_up += 1
                        first_row, last_row = chunk.items[0].row, chunk.items[-1].row
                        _say([f"rows {first_row} to {last_row}: their workers died; start again to try again"], console)
                        continue
                    rows = future.result()
                    parts.commit(chunk.number, rows)
                    failures.add(rows)
                    done += len(rows)
                    bar.note(f"{done} of {total} ligands, {failures.count} failed")
                    bar.evaluated(len(rows))
                bar.advance(0)
    finally:
        at_work.stop()
    return given_up


def read_job(options: ScreenOptions) -> tuple[Job, list[str]]:
    """The receptor, the model and the way to dock that the options mean; remarks about the way.

    Raises:
        InputError: if one of them cannot be used.
    """
    plan, remarks = plan_of(DockOptions(check=False, **{name: getattr(options, name) for name in SHARED}))
    pocket = pocket_of(options.pocket, plan.model)
    if options.pocket is None and pocket == AROUND_LIGAND:
        remedy = "give a ligand file in its bound pose, point:X,Y,Z, point:X,Y,Z,RADIUS or protein (Å)"
        raise InputError(InputProblem("--pocket", "", "it is missing, and these weights dock into pockets", remedy))
    receptor = read_receptor(options.protein, pocket, options.drop, options.keep)
    # What stands against this receptor, or a language model that is missing, stands against every ligand.
    _, problems = plan.model.prepare([receptor.with_ligand(from_smiles(_PROBE, "probe", 0), str(options.protein))])
    if problems:
        raise InputError(problems[0])
    if plan.outlook is not None:
        remarks = [*remarks, plan.outlook.familiarity(receptor.protein)[1]]
    if is_whole(receptor.pocket) and not plan.model.network.docks_to_whole_protein:
        remarks = [*remarks, NOT_BLIND]
    return Job(receptor, plan, options.stereo, options.ligand_seconds), remarks


def job_identity(job: Job) -> dict[str, Any]:
    """What rows depend on beside the library, in plain values."""
    pocket = job.receptor.pocket
    atoms: list[NDArray[Any]] = [pocket.positions, pocket.element, pocket.residue, pocket.atom_name]
    return {
        "receptor": fingerprint(*(x.tobytes() for x in atoms)),
        "protein": job.receptor.protein.path.name,
        "pocket": pocket.spec,
        "stereo": job.stereo,
        **job.plan.identity,
    }


def _engine(options: ScreenOptions, job: Job) -> Engine:
    if options.engine == "ray":
        return RayEngine(job, options.address, options.actors, options.conformer_processes)
    return local_engine(job, options.conformer_processes)


def _records(chunk: int, size: int, total: int) -> int:
    return max(0, min(size, total - chunk * size))


def _counts(parts: Parts) -> dict[str, int]:
    counts = dict.fromkeys(("docked", "duplicate", "failed"), 0)
    for row in parts.rows(["status"]):
        counts[row["status"]] += 1
    return counts


def _say(lines: Sequence[str], console: Console) -> None:
    for line in lines:
        console.print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)
