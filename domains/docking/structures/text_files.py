"""Reading a user's text file, gzipped or not, or saying in one line why that is impossible."""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from pathlib import Path

from domains.errors import InputError, InputProblem

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")


def read_text(path: Path, kind: str) -> str:
    """Text of a file with line ends as "\\n"; ``kind`` says what the user should have given ("a PDB or mmCIF file").

    Raises ``InputError`` if the file is missing, unreadable, empty, binary, UTF-16, or damaged gzip data.
    """

    def refuse(message: str, remedy: str) -> InputError:
        return InputError(InputProblem(str(path), "", message, remedy))

    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".gz":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise refuse(f"the gzip data is damaged or cut off ({error})", "copy the file again") from error
    except OSError as error:
        raise refuse(f"cannot be read ({error.strerror})", "check the path") from error
    if not data.strip():
        raise refuse("the file is empty", f"give {kind}")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _is_wide(data[:1000]):
        raise refuse("the file is UTF-16 text", "save it as UTF-8")
    if _CONTROL.search(data):
        raise refuse("the file is binary", f"give {kind}")
    # Titles and remarks may hold any 8-bit letter; nothing that is used from these files does.
    return data.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")


def _is_wide(data: bytes) -> bool:
    """Whether every other byte is zero, as in Latin letters of two bytes each."""
    halves = data[: len(data) // 2 * 2][::2], data[1::2]
    return any(not any(half) for half in halves) and any(any(half) for half in halves)


def read_names(path: Path) -> set[str]:
    """Names in a list: one a line, # starts a comment. Raises ``InputError`` if it cannot be read."""
    lines = (line.split("#")[0].strip() for line in read_text(path, "a list of names").splitlines())
    return {line for line in lines if line}
