"""Names of the files that docked poses are written to."""

from __future__ import annotations

import re
from collections.abc import Sequence

_UNSAFE = re.compile(r"[^\w.+=-]+")


def folder_names(names: Sequence[str]) -> dict[str, str]:
    """Complex -> a relative path that no name can lead out of its folder, and that no two share."""
    folders: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = folder = "/".join(_UNSAFE.sub("_", part).strip(".") or "_" for part in name.split("/"))
        count = 1
        while folder.lower() in taken:
            count += 1
            folder = f"{plain}_{count}"
        taken.add(folder.lower())
        folders[name] = folder
    return folders
