"""Weights that come with the toolkit, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from domains.errors import InputError, InputProblem

_FOLDER: Final = Path(__file__).parents[1] / "weights"

GENERAL: Final = Path("general")
"""Trained on many kinds of proteins, for targets of one's own: what is taken where nobody names weights."""

SHIPPED: Final[Mapping[str, Path]] = {name: _FOLDER / f"{name}.safetensors" for name in (str(GENERAL), "demo")}
"""Name -> file; what each was trained on, and reaches, is in the model card beside them."""


def find_weights(weights: Path | str) -> Path:
    """Where weights are that were given by name, or as a file or folder. A name comes before a folder called so,
    of which the whole path has to be given.

    Raises:
        InputError: if there is nothing of that name.
    """
    given = Path(weights)
    if (shipped := SHIPPED.get(str(weights))) is not None:
        return shipped
    if len(given.parts) == 1 and not given.suffix and not given.exists():
        message = "there are no weights of that name, nor a file or folder"
        raise InputError(InputProblem(str(weights), "", message, f"give {', '.join(SHIPPED)}, or the path of a file"))
    return given
