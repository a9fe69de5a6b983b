"""Noise schedules: how much signal and how much noise there is at each time."""
