"""Embeddings of a protein's residues by ESM-2 650M (Lin et al. 2023), which DiffDock's weights were trained with.

The model is Hugging Face's copy, from a folder or from the user's cache; nothing is downloaded. What was computed is
kept on disk by sequence. A chain longer than the model was trained for is seen in windows that overlap, and every
residue takes its embedding from the window that it is deepest in.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import gemmi
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from domains.docking.networks.diffdock.config import LANGUAGE_MODEL_WIDTH
from domains.docking.structures.protein import Protein
from domains.docking.structures.residues import RESIDUE_VOCABULARY
from domains.errors import InputError, InputProblem

NAME: Final = "esm2_t33_650M_UR50D"
"""What the folder with the model is called, wherever it lies."""

WINDOW: Final = 1022
"""Residues that the model sees at once; it was trained on that many."""

OVERLAP: Final = 256
"""Residues that neighbouring windows share."""

_HUB: Final = f"facebook/{NAME}"
_FILES: Final = "config.json, model.safetensors, tokenizer_config.json, special_tokens_map.json and vocab.txt"
_SAMPLE: Final = 2**20  # bytes at either end of the weights file that identify it


@final
class LanguageModel:
    """ESM-2 where a user has it.

    Args:
        places: folders that may be, or hold, the model's; the first that does is used, then Hugging Face's cache.
        kept: folder for embeddings; the user's cache if None.
        device: as torch writes it.
    """

    def __init__(self, places: Sequence[Path] = (), kept: Path | None = None, device: str = "cpu") -> None:
        self.places, self.device = tuple(places), device
        self.kept = kept or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ld3" / NAME
        self._found: dict[str, Tensor] = {}

    def embed(self, protein: Protein) -> NDArray[np.float32]:
        """(M, 1280), one row for each residue with an alpha carbon, in the order of the file.

        Chains are seen one by one, whatever the order in which they are stored.

        Raises:
            InputError: if the model is needed and not there, or is no ESM-2 of that width.
        """
        found = np.zeros((int(protein.is_ca.sum()), LANGUAGE_MODEL_WIDTH), dtype=np.float32)
        for rows, sequence in chains(protein):
            found[rows] = self.embed_sequence(sequence).numpy()
        return found

    def embed_sequence(self, sequence: str) -> Tensor:
        """(L, 1280) of one chain of L residues, in one-letter codes; errors as :meth:`embed`."""
        if sequence not in self._found:
            self._found[sequence] = self._on_disk(sequence)
        return self._found[sequence]

    def _on_disk(self, sequence: str) -> Tensor:
        name = hashlib.sha256(f"{self._identity}:{sequence}".encode()).hexdigest()[:32]
        path = self.kept / f"{name}.safetensors"
        shape = (len(sequence), LANGUAGE_MODEL_WIDTH)
        try:
            found = load_file(path)["embedding"]
        except (OSError, SafetensorError, KeyError):  # not there, or cut off when it was written
            found = None
        if found is not None and found.shape == shape and bool(torch.isfinite(found).all()):
            return found
        new = self._computed(sequence)
        self.kept.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        save_file({"embedding": new}, part)
        os.replace(part, path)
        return new

    @torch.no_grad()
    def _computed(self, sequence: str) -> Tensor:
        tokenizer, model = self._model
        out = torch.zeros(len(sequence), LANGUAGE_MODEL_WIDTH)
        for first, kept in windows(len(sequence)):
            tokens = tokenizer(sequence[first : first + WINDOW], return_tensors="pt").to(self.device)
            hidden = model(**tokens).last_hidden_state[0, 1:-1].float().cpu()
            out[kept] = hidden[kept.start - first : kept.stop - first]
        if not bool(torch.isfinite(out).all()):
            raise _problem(str(self._folder), "its embeddings are not finite", "download the model again")
        return out

    @cached_property
    def _folder(self) -> Path:
        """The folder with the model's files."""
        for place in (folder for given in self.places for folder in (given, given / NAME)):
            if (place / "config.json").is_file():
                return place
        try:
            from huggingface_hub import try_to_load_from_cache
        except ImportError as error:
            raise self._missing from error
        found = try_to_load_from_cache(_HUB, "config.json")
        if not isinstance(found, str):
            raise self._missing
        return Path(found).parent

    @property
    def _missing(self) -> InputError:
        first = self.places[0] / NAME if self.places else Path(NAME)
        remedy = f"put {_FILES} of huggingface.co/{_HUB} into {first}, or run: hf download {_HUB}"
        return _problem(NAME, "these weights need embeddings of ESM-2 650M, which is not on this machine", remedy)

    @cached_property
    def _identity(self) -> str:
        """Hash of the configuration, and of the size and both ends of the weights."""
        digest = hashlib.sha256((self._folder / "config.json").read_bytes())
        for path in sorted([*self._folder.glob("*.safetensors"), *self._folder.glob("*.bin")]):
            size = path.stat().st_size
            digest.update(str(size).encode())
            with path.open("rb") as file:
                digest.update(file.read(_SAMPLE))
                file.seek(max(0, size - _SAMPLE))
                digest.update(file.read())
        return digest.hexdigest()

    @cached_property
    def _model(self) -> tuple[Any, Any]:
        try:
            from transformers import EsmModel, EsmTokenizer
        except ImportError as error:
            remedy = "pip install '.[diffdock]' in a copy of the repository"
            raise _problem(NAME, "the package transformers, which runs ESM-2, is missing", remedy) from error
        folder = str(self._folder)
        try:
            tokenizer = EsmTokenizer.from_pretrained(folder, local_files_only=True)
            model = EsmModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
        except (OSError, ValueError, RuntimeError, TypeError, SafetensorError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise _problem(folder, f"it cannot be read as ESM-2 ({first})", f"download {_HUB} again") from error
        if model.config.hidden_size != LANGUAGE_MODEL_WIDTH:
            message = f"its embeddings have {model.config.hidden_size} columns, DiffDock needs {LANGUAGE_MODEL_WIDTH}"
            raise _problem(folder, message, f"use {_HUB}")
        return tokenizer, model.eval().requires_grad_(False).to(self.device)


def chains(protein: Protein) -> list[tuple[NDArray[np.intp], str]]:
    """Each chain's rows among the residues with an alpha carbon, and its sequence; G stands for an unknown residue."""
    residues = protein.residue_index[protein.is_ca]
    names = np.array([protein.residue_ids[i].rpartition(":")[0] for i in residues])
    letters = np.array([_LETTERS[i] for i in protein.residue[protein.is_ca]])
    found = []
    for name in dict.fromkeys(names.tolist()):
        rows = np.flatnonzero(names == name)
        found.append((rows, "".join(letters[rows])))
    return found


def windows(length: int) -> list[tuple[int, slice]]:
    """(first residue of the window, residues that take their embedding from it); each window has at most WINDOW."""
    if length <= WINDOW:
        return [(0, slice(0, length))]
    count = -(-(length - OVERLAP) // (WINDOW - OVERLAP))
    first = [round(i * (length - WINDOW) / (count - 1)) for i in range(count)]
    # The border between two windows is in the middle of what they share.
    borders = [0, *((b + a + WINDOW) // 2 for a, b in pairwise(first)), length]
    return [(start, slice(*borders[i : i + 2])) for i, start in enumerate(first)]


_LETTERS: Final = tuple(
    "G" if name == "other" else gemmi.find_tabulated_residue(name).one_letter_code for name in RESIDUE_VOCABULARY
)


def _problem(file: str, message: str, remedy: str) -> InputError:
    return InputError(InputProblem(file, "", message, remedy))
