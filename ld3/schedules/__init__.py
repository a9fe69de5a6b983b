"""Noise schedules: how much signal and how much noise there is at each time."""

from ld3.schedules.base import Schedule
from ld3.schedules.straight import RectifiedFlow
from ld3.schedules.ve import EDM, VE
from ld3.schedules.vp import VPCosine, VPDiscrete, VPLinear
from ld3.schedules.vp_steps import Betas, VPSteps

__all__ = ["EDM", "VE", "Betas", "RectifiedFlow", "Schedule", "VPCosine", "VPDiscrete", "VPLinear", "VPSteps"]
