"""Peak memory of a screen of N ligands whose sampler is a fake: ``python -m benchmarks.screening.memory N OUT``.

The library is read, spelled canonically, checked for repeats and cut into chunks, and rows are kept and merged, as in
any screen. Conformers and docking are left out: a row's pose is made of zeros. They work on one chunk at a time and do
not know how long the library is.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import tyro
from rich.console import Console

from domains.docking.screen.chunks import Chunk
from domains.docking.screen.engines import LocalEngine
from domains.docking.screen.library import Library
from domains.docking.screen.run import run
from domains.docking.screen.worker import Row

_CHUNK: Final = 64
_GROUPS: Final = ("C", "CC", "C(C)C", "O", "OC", "N", "NC", "F", "Cl", "Br", "C#N", "C(=O)O", "C(=O)N", "S(C)(=O)=O")
_RINGS: Final = (
    "c1ccccc1",
    "c1ccncc1",
    "c1cncnc1",
    "c1ccc2[nH]ccc2c1",
    "C1CCNCC1",
    "c1ccsc1",
    "c1c[nH]nc1",
    "C1CCOCC1",
)


def smiles() -> Iterator[str]:
    """Drug-like molecules without end, hardly two alike: two rings, a chain between them, and groups on it."""
    for length in itertools.count(1):
        for chain in itertools.product(_GROUPS, repeat=length):
            middle = "".join(f"C({group})" for group in chain)
            for first, second in itertools.product(_RINGS, repeat=2):
                yield f"{first[:-1]}(C(=O)N{middle}{second.replace('1', '3').replace('2', '4')}){first[-1]}"


def fake(chunk: Chunk) -> list[Row]:
    """A row for each record, as docking would give it."""
    rows = []
    for item in chunk.items:
        if item.molecule is None:
            rows.append(Row(item.row, item.name, item.given, "", "failed", None, item.reason))
        elif item.duplicate_of is not None:
            rows.append(Row(item.row, item.name, item.given, item.molecule.smiles, "duplicate", item.duplicate_of))
        else:
            score = float(item.molecule.key[0])
            pose = (0.0,) * (3 * sum(letter.isalpha() for letter in item.molecule.smiles))
            rows.append(Row(item.row, item.name, item.given, item.molecule.smiles, "docked", score=score, pose=pose))
    return rows


def peak_mb() -> float:
    """The most memory that this process has had at once. (ru_maxrss begins with that of the process that started it.)

    Raises:
        OSError: where there is no /proc.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def main(count: Annotated[int, tyro.conf.Positional], out: Annotated[Path, tyro.conf.Positional], /) -> None:
    """Write a library of `count` ligands into `out`, screen it with a fake sampler, print figures as JSON."""
    out.mkdir(parents=True, exist_ok=True)
    library = out / "library.smi"
    with library.open("w") as file:
        for number, text in enumerate(itertools.islice(smiles(), count)):
            print(text, f"ligand{number}", file=file)
    began = time.perf_counter()
    console = Console(stderr=True)
    # No best.sdf: its poses have no atoms where they should be.
    found = run(Library(library), out / "screen", {"sampler": "fake"}, _CHUNK, 0, lambda: LocalEngine(fake), console)
    seconds = time.perf_counter() - began
    counts = {"docked": found.docked, "duplicates": found.duplicates, "failed": found.failed}
    print(json.dumps({"ligands": count, "peak_mb": peak_mb(), "seconds": seconds, **counts}))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
