"""Starts the command `ld3` with this project's own packages, whatever is called `domains` where it is run."""

from __future__ import annotations

import sys
from pathlib import Path


def main() -> int:
    """Run the command; the exit status.

    The folder that holds this package goes first on the path, for processes that the command starts as well:
    PYTHONPATH, or `python -m`, may have put the working directory there.
    """
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from domains.command import main as command

    return command()
