"""What every study shares: options from the YAML file beside it, kept figures, results, and where a table goes.

``NAME.yaml`` beside ``NAME.py`` holds the values of the study's options; the command line changes single ones, also
inside of others (``--fit.steps 10``).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
import tyro
from rich.console import Console

from benchmarks.common import manifest
from benchmarks.common.grids import fine_steps
from benchmarks.common.store import Store, write_text
from benchmarks.common.tables import put_block
from domains.exits import FIXED_SIZE, run_command
from domains.options import mistake
from domains.progress import WorkProgress
from domains.yaml_options import read_options
from ld3 import ProbabilityFlow, State, get_solver
from ld3.fingerprint import fingerprint
from ld3.grids import edm
from ld3.grids.gits import TRAJECTORY_SOLVER, Jumps, jump_costs
from ld3.learn import Point

T = TypeVar("T")

GITS: Final = "gits"

_ELSEWHERE: Final = ("out", "page", "ball_page")  # options on which no figure depends


def defaults(options: type[T], name: str) -> T:
    """The options of a study as its YAML file has them; `tyro.MISSING` where the user has to say."""
    return read_options(options, Path(__file__).parent / f"{name}.yaml", missing=tyro.MISSING)


def run_study(
    name: str,
    options: type[T],
    work: Callable[[T, Console], int],
    description: str | None,
    given: Sequence[str] | None,
    less_memory: str = FIXED_SIZE,
) -> int:
    """Run a study with the command line's arguments; the exit status.

    Args:
        name: of its module in this package.
        options: dataclass of its options, with a folder `out`.
        work: the study: options and standard error -> exit status.
        description: for --help.
        given: the arguments; None = those of the process.
        less_memory: what the user can do where memory runs out.
    """
    log = Console(stderr=True, highlight=False, soft_wrap=True)

    def parsed() -> int:
        chosen = tyro.cli(
            options,
            args=given,
            default=defaults(options, name),
            description=description,
            prog=f"python -m benchmarks.experiments.{name}",
        )
        out: Path = chosen.out  # type: ignore[attr-defined]
        return run_command(partial(work, chosen, log), log, less_memory, out, (ValueError, OSError))

    return run_command(parsed, log, less_memory, None)


def command_line(name: str, options: Any) -> str:  # noqa: ANN401
    """The command that makes the figures of `options` again, as a shell reads it, without where they are written."""
    words = _flags(options, defaults(type(options), name), "")
    return shlex.join(["python", "-m", f"benchmarks.experiments.{name}", *words])


def made_by(name: str, options: Any) -> str:  # noqa: ANN401
    """How a table begins."""
    return f"Made by `{command_line(name, options)}`"


def _flags(given: Any, default: Any, prefix: str) -> list[str]:  # noqa: ANN401
    """Of the fields that are not at their defaults."""
    words: list[str] = []
    for field in fields(given):
        value, usual = getattr(given, field.name), getattr(default, field.name)
        flag = f"--{prefix}{field.name.replace('_', '-')}"
        if value == usual or field.name in _ELSEWHERE or _only_in_yaml(value):
            continue
        if is_dataclass(value):
            words += _flags(value, usual, f"{flag[2:]}.")
        elif isinstance(value, bool):
            words.append(flag if value else f"--{prefix}no-{flag[2 + len(prefix) :]}")
        else:
            words += [flag, *map(str, value if isinstance(value, tuple) else [value])]
    return words


def _only_in_yaml(value: object) -> bool:
    """Whether there is no flag for it: a list of dataclasses."""
    return isinstance(value, tuple) and any(map(is_dataclass, value))


def check_numbers(**least: tuple[float, float]) -> None:
    """Refuse options that are too small: name=(value, least that makes sense).

    Raises:
        InputError: naming the option.
    """
    for name, (value, smallest) in least.items():
        if not value >= smallest:
            raise mistake(name, f"got {value:g}", f"give a number >= {smallest:g}")


def check_each_once(least: int = 1, **given: Sequence[object]) -> None:
    """Refuse options that hold fewer than `least` values, one twice, or a negative seed.

    Raises:
        InputError: naming the option.
    """
    for name, values in given.items():
        if len(set(values)) < max(least, len(values)) or (name == "seeds" and min(values) < 0):  # type: ignore[type-var, operator]
            message = f"got {' '.join(map(str, values)) or 'none'}"
            raise mistake(name, message, f"give at least {least}, each once{', and >= 0' if name == 'seeds' else ''}")


class Kept:
    """Figures on disk, each under the name of all that it depends on, so that an interrupted study goes on.

    Args:
        store: where they are.
        inputs: what all of them depend on.
    """

    def __init__(self, store: Store, *inputs: object) -> None:
        self.store, self._inputs = store, fingerprint(*inputs)

    def __call__(self, name: str, inputs: object, make: Callable[[], T]) -> T:
        """What was kept under this name for these inputs, or what `make` makes now; JSON has to be able to hold it."""
        key = self._key(name, inputs)
        found: T | None = self.store.json(key)
        if found is None:
            found = make()
            self.store.put_json(key, found)
        return found

    def holds(self, name: str, inputs: object) -> bool:
        """Whether there is something under this name for these inputs."""
        return self.store.json(self._key(name, inputs)) is not None

    def _key(self, name: str, inputs: object) -> str:
        return f"{name}-{fingerprint(self._inputs, inputs)}"


def counted(bar: WorkProgress) -> Callable[[Point], None]:
    """For `on_progress` of a fit: its network evaluations, on the bar."""
    count = bar.counter()
    return lambda point: count(point.network_evaluations, 0)


def gits_jumps(flow: ProbabilityFlow[State], start: State, finest: int, bar: WorkProgress, chunk: int = 64) -> Jumps:
    """What GITS measures along the trajectories from `start`, for grids of up to `finest` steps."""
    fine = edm(flow.clock, fine_steps(finest))
    return Jumps(fine, jump_costs(flow, start, fine, get_solver(TRAJECTORY_SOLVER), chunk, on_progress=bar.counter()))


def publish(page: Path | None, block: str, content: str) -> None:
    """Print a study's tables, and put them between the markers `block` of a page, if there is one.

    Raises:
        ValueError: if the page lacks the markers, which `check_page` has seen before anything was computed.
        OSError: if it cannot be read or written.
    """
    if page is not None:
        put_block(page, block, content)
    print(content)


def write_results(out: Path, schema: str, options: Any, packages: Sequence[str], **content: object) -> dict[str, Any]:  # noqa: ANN401
    """Write `out`/results.json: options, versions and machine, and `content`; the same as JSON has it.

    Raises:
        OSError: if it cannot be written.
    """
    found = {
        "schema": schema,
        "config": asdict(options),
        **content,
        "versions": manifest.versions(packages),
        "commit": manifest.commit(),
        "machine": manifest.machine(torch.device("cpu")),
    }
    # JSON has no infinity, which what is not finite leads to.
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str), parse_constant=lambda _: None)
    write_text(out / "results.json", json.dumps(plain, indent=1, allow_nan=False))
    return plain
