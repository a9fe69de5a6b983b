"""report.html: the poses of a docking run or the best of a screen, to look at in any browser without a network."""

from __future__ import annotations

from pathlib import Path

__all__ = ["write_report"]


def write_report(folder: Path) -> Path:
    """Write FOLDER/report.html from the files that `ld3 dock` or `ld3 screen` left there.

    With the folders of several ligands in it: a page in each, and one that leads to them.

    Raises:
        InputError: if the folder holds no results.
    """
    from domains.docking.report.write import write_report as write  # RDKit and gemmi are not needed to name it

    return write(folder)
