"""AutoDock Vina with a limit of its CPU time: in a process of its own, for nothing interrupts its search."""

from __future__ import annotations

import math
import multiprocessing
import resource
import signal
import time
from multiprocessing.connection import Connection
from typing import Final

from benchmarks.docking.vina import VinaPoses, dock_by_vina
from domains.docking.structures.complexes import Complex
from domains.docking.structures.pocket import PocketChoice

_MINUTE: Final = 60.0  # s


def dock_within(
    minutes: float, complex_: Complex, exhaustiveness: int, poses: int, seed: int, choice: PocketChoice | None = None
) -> VinaPoses | None:
    """As :func:`benchmarks.docking.vina.dock_by_vina`; None where that takes more CPU minutes.

    Raises:
        RuntimeError: if the process ends otherwise; what was raised in it is on standard error.
    """
    context = multiprocessing.get_context("spawn")  # a copy of this process would have its threads' locks
    receive, send = context.Pipe(duplex=False)
    work = (complex_, exhaustiveness, poses, seed, choice)
    process = context.Process(target=_dock, args=(send, math.ceil(_MINUTE * minutes), work), daemon=True)
    process.start()
    send.close()
    try:
        found: VinaPoses | None = receive.recv()
    except EOFError:  # it has ended
        found = None
        process.join()
    finally:
        process.kill()
    if found is None and process.exitcode != -signal.SIGXCPU:
        raise RuntimeError(f"Vina's process on {complex_.name} ended with status {process.exitcode}")
    return found


def _dock(send: Connection, seconds: int, work: tuple[Complex, int, int, int, PocketChoice | None]) -> None:
    """In the other process, whose imports do not count. The kernel ends it at the limit."""
    limit = math.ceil(time.process_time()) + seconds
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    send.send(dock_by_vina(*work))
