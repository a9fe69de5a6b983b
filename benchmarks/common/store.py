"""What a run has computed, on disk, so that one that was interrupted goes on.

Every entry is named by a hash of all that it depends on. Whatever is asked for again with the same inputs is read; what
a changed option leads to has another name, so that old and new results can never be mixed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from safetensors.torch import load_file, save_file
from torch import Tensor


@final
class Store:
    """Entries in a folder, each written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def tensors(self, key: str) -> dict[str, Tensor] | None:
        """The tensors of that name, on the CPU."""
        path = self.folder / f"{key}.safetensors"
        return load_file(path) if path.exists() else None

    def put_tensors(self, key: str, value: Mapping[str, Tensor]) -> None:
        """Keep tensors."""
        path = self.folder / f"{key}.safetensors"
        part = path.with_suffix(".part")
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in value.items()}, part)
        os.replace(part, path)

    def drop_tensors(self, key: str) -> None:
        """Forget tensors, if there are any of that name."""
        (self.folder / f"{key}.safetensors").unlink(missing_ok=True)

    def json(self, key: str) -> Any:  # noqa: ANN401
        """What was kept under that name; None if nothing was."""
        path = self.folder / f"{key}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def put_json(self, key: str, value: object) -> None:
        """Keep what JSON can hold."""
        write_text(self.folder / f"{key}.json", json.dumps(value, allow_nan=False))


def finite(number: float) -> float | None:
    """The number, or None for what JSON has no word for: NaN and infinity."""
    return number if math.isfinite(number) else None


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: readers see the old one or the new one."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    os.replace(part, path)
