"""`python -m ld3_command`: the command `ld3`, where it is not on the PATH."""

from __future__ import annotations

import sys

from ld3_command import main

if __name__ == "__main__":
    sys.exit(main())
