"""Learned grids in pipelines of diffusers.

from ld3_diffusers import fit_pipeline

fit = fit_pipeline(pipe, prompts, nfe=5, guidance=5.0)
pipe.scheduler = fit.scheduler(pipe)

A package of its own, under a name that nobody else's folder has: lines that `ld3 export` writes, and other people's
programs, import it wherever they are run, also beside a folder `domains` of another project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ld3_diffusers.own_packages import call_of

if TYPE_CHECKING:
    from domains.images.diffusers.pipeline_fit import fit_pipeline
    from ld3_diffusers.learned_scheduler import LearnedScheduler

__all__ = ["LearnedScheduler", "fit_pipeline"]


def __getattr__(name: str) -> object:
    """Loaded when asked for: configs of schedulers are read without diffusers."""
    if name == "LearnedScheduler":
        from ld3_diffusers.learned_scheduler import LearnedScheduler

        return LearnedScheduler
    if name == "fit_pipeline":
        return call_of("domains.images.diffusers.pipeline_fit", name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
