"""Learned grids in pipelines of diffusers: `ld3_diffusers.learned_scheduler`, and what configs of schedulers say.

A package of its own, under a name that nobody else's folder has: lines that `ld3 export` writes import it wherever they
are run, also beside a folder `domains` of another project.
"""
