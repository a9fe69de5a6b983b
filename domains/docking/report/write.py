"""Writes report.html into a folder of results."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from domains.docking.report.folder import Results, folders_below, read_results
from domains.docking.report.page import index, page
from domains.errors import InputError, InputProblem

FILE = "report.html"


def write_report(folder: Path) -> Path:
    """See :func:`domains.docking.report.write_report`."""
    found = read_results(folder)
    if found is not None:
        return _write(folder, page(found))
    rows: list[tuple[str, Results]] = []
    for place in folders_below(folder):
        below = read_results(place)
        if below is not None:
            rows.append((quote(f"{place.relative_to(folder).as_posix()}/{FILE}"), below))
            _write(place, page(below))
    if not rows:
        remedy = "give the --out of ld3 dock or ld3 screen"
        raise InputError(InputProblem(str(folder), "", "there are no results in it", remedy))
    return _write(folder, index(f"Docking results in {folder.resolve().name}", rows))


def _write(folder: Path, text: str) -> Path:
    """The file, whole or not at all."""
    partial = folder / f"{FILE}.{os.getpid()}.part"
    partial.write_text(text, encoding="utf-8")
    return partial.replace(folder / FILE)
