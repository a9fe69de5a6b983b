"""A library of ligands as a stream: .smi, .sdf, .csv (each gzipped or not) and .parquet, one record at a time."""

from __future__ import annotations

import csv
import gzip
import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Literal, final

from domains.errors import InputError, InputProblem

SUFFIXES: Final = (".smi", ".smiles", ".sdf", ".sd", ".csv", ".parquet")
SMILES_COLUMNS: Final = ("smiles", "canonical_smiles", "ligand_description")
NAME_COLUMNS: Final = ("name", "id", "title", "ligand_name", "complex_name", "compound_id", "chembl_id", "zinc_id")

_BLOCK: Final = 1 << 20
_ROWS: Final = 1024  # of a Parquet file at a time
_REMEDY: Final = f"give {', '.join(SUFFIXES)}; .smi, .sdf and .csv may end in .gz"


@final
@dataclass(frozen=True)
class Entry:
    """One record of a library, not yet looked at.

    Attributes:
        row: its number, from 1: lines of a .smi file that are not empty, records of the others.
        name: as the file has it; "" without one.
        kind: what `text` is.
        text: a SMILES, or the record of an SDF file.
    """

    row: int
    name: str
    kind: Literal["smiles", "molblock"]
    text: str


@final
@dataclass(frozen=True)
class Library:
    """A library file.

    Attributes:
        path: of the file.
        smiles_column, name_column: of a table; None = the first of the usual ones that it has.
    """

    path: Path
    smiles_column: str | None = None
    name_column: str | None = None

    def entries(self) -> Iterator[Entry]:
        """All records in order, in memory that does not grow.

        Raises:
            InputError: if the file is missing, damaged or of no known kind, or has no column of SMILES.
        """
        read = {
            ".smi": self._smi,
            ".smiles": self._smi,
            ".sdf": self._sdf,
            ".sd": self._sdf,
            ".csv": self._csv,
            ".parquet": self._parquet,
        }.get(self._kind)
        if read is None:
            raise self._refuse("it is no library", _REMEDY)
        done = 0
        try:
            for entry in read():
                yield entry
                done = entry.row
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            message = f"the gzip data is damaged or cut off after record {done} ({error})"
            raise self._refuse(message, "copy the file again") from error
        except OSError as error:
            raise self._refuse(f"cannot be read ({error.strerror})", "check the path") from error

    def hash(self) -> str:
        """16 hexadecimal digits of the file's bytes.

        Raises:
            InputError: if it cannot be read.
        """
        digest = hashlib.sha256()
        try:
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    digest.update(block)
        except OSError as error:
            raise self._refuse(f"cannot be read ({error.strerror})", "check the path") from error
        return digest.hexdigest()[:16]

    @property
    def _kind(self) -> str:
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        if suffixes[-1:] == [".gz"] and suffixes[-2:-1] != [".parquet"]:
            suffixes.pop()
        return suffixes[-1] if suffixes else ""

    def _open(self) -> IO[str]:
        compressed = self.path.suffix.lower() == ".gz"
        # Names may hold any 8-bit letter; nothing that is used from these files does.
        how = {"encoding": "utf-8-sig", "errors": "replace"}
        return gzip.open(self.path, "rt", **how) if compressed else self.path.open("rt", **how)  # type: ignore[call-overload]

    def _smi(self) -> Iterator[Entry]:
        row = 0
        with self._open() as file:
            for line in file:
                words = line.split(maxsplit=1)
                if words:
                    row += 1
                    yield Entry(row, words[1].strip() if len(words) > 1 else "", "smiles", words[0])

    def _sdf(self) -> Iterator[Entry]:
        row, lines = 0, list[str]()
        with self._open() as file:
            for line in file:
                if not line.startswith("$$$$"):
                    lines.append(line)
                    continue
                row += 1
                yield Entry(row, lines[0].strip() if lines else "", "molblock", "".join(lines))
                lines = []
        if any(line.strip() for line in lines):
            yield Entry(row + 1, lines[0].strip(), "molblock", "".join(lines))

    def _csv(self) -> Iterator[Entry]:
        with self._open() as file:
            reader = csv.reader(file, skipinitialspace=True)
            row = 0
            try:
                header = next(reader, [])
                smiles, name = self._columns(header)
                at, called = header.index(smiles), header.index(name) if name else None
                for values in reader:
                    if not values:
                        continue
                    row += 1
                    text = values[at].strip() if at < len(values) else ""
                    title = values[called].strip() if called is not None and called < len(values) else ""
                    yield Entry(row, title, "smiles", text)
            except csv.Error as error:
                raise self._refuse(f"it is no CSV after record {row} ({error})", "write the file again") from error

    def _parquet(self) -> Iterator[Entry]:
        try:
            from pyarrow import ArrowInvalid, parquet  # an extra, and needed nowhere else in this file
        except ImportError as error:
            raise self._refuse(
                "reading Parquet needs pyarrow", "pip install '.[screening]' in a copy of the repository"
            ) from error
        try:
            with parquet.ParquetFile(self.path) as file:
                smiles, name = self._columns(file.schema_arrow.names)
                row = 0
                for batch in file.iter_batches(_ROWS, columns=[smiles, *([name] if name else [])]):
                    texts = batch.column(0).to_pylist()
                    titles: Sequence[object] = batch.column(1).to_pylist() if name else [""] * len(texts)
                    for text, title in zip(texts, titles, strict=True):
                        row += 1
                        title = "" if title is None else str(title).strip()
                        yield Entry(row, title, "smiles", "" if text is None else str(text).strip())
        except ArrowInvalid as error:
            raise self._refuse(f"it is no Parquet file ({error})", "write the file again") from error

    def _columns(self, header: Sequence[str]) -> tuple[str, str | None]:
        """The columns of SMILES and of names."""
        for asked in (self.smiles_column, self.name_column):
            if asked is not None and asked not in header:
                raise self._refuse(f"there is no column '{asked}'", f"it has {', '.join(header)}")
        smiles = self.smiles_column or _first(header, SMILES_COLUMNS)
        if smiles is None:
            message = f"there is no column of SMILES ({' or '.join(SMILES_COLUMNS)}); it has {', '.join(header)}"
            raise self._refuse(message, "say which with --smiles-column")
        return smiles, self.name_column or _first(header, NAME_COLUMNS)

    def _refuse(self, message: str, remedy: str) -> InputError:
        return InputError(InputProblem(str(self.path), "", message, remedy))


def _first(header: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The column whose name is one of `wanted`, whatever its capitals and spaces; of several the first wanted."""
    plain = {re.sub(r"[\s_]+", "_", name.strip().lower()): name for name in header}
    return next((plain[name] for name in wanted if name in plain), None)
