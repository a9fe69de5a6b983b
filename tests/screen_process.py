"""A screen in a process of its own, to be killed; its imports are made once, before any of them starts."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.context import ForkServerProcess

import torch
from rich.console import Console

from domains.docking.screen.run import Outcome, screen
from domains.docking.screen.settings import ScreenOptions


def run(chosen: ScreenOptions) -> Outcome:
    """The screen in this process, with one thread."""
    torch.set_num_threads(1)
    with open(os.devnull, "w") as nowhere:
        return screen(chosen, Console(file=nowhere))


def started(chosen: ScreenOptions) -> ForkServerProcess:
    """The screen in a new process."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["domains.docking.screen.run", "domains.docking.networks.registry"])
    process = context.Process(target=run, args=(chosen,))
    process.start()
    return process
