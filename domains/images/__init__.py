"""Images: diffusion models as flows, grids that are learned for them, and samples with few network evaluations.

model = images.load("digits")
fit = images.learn_grid(model, nfe=5)
x = images.sample(model, fit, n=16, seed=0)
"""

from __future__ import annotations

from domains.images.conditioned import Conditioned, ConditionedFlow
from domains.images.fits import learn_grid
from domains.images.models.load import load
from domains.images.models.options import ModelOptions
from domains.images.sampling import sample

__all__ = ["Conditioned", "ConditionedFlow", "ModelOptions", "learn_grid", "load", "sample"]
