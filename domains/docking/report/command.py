"""`ld3 report`: makes report.html again."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Report:
    """Write report.html, a page to look at poses, into a folder of results."""

    out: Annotated[Path, tyro.conf.Positional]
    """the --out of ld3 dock or ld3 screen"""

    def run(self) -> int:
        """Write it; the exit status."""
        from domains.docking.report import write_report  # needs RDKit
        from domains.errors import InputError

        try:
            print(write_report(self.out))
        except InputError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0
