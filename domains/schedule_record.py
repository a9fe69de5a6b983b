"""What a fit says of the noise schedules that it was learned on, so that it can be told from one for others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any, Final

import torch

from ld3 import schedules
from ld3.clock import Clock
from ld3.fingerprint import fingerprint
from ld3.learn import FitResult
from ld3.saved_values import table, text
from ld3.schedules import Schedule

_SAME: Final = 1e-5  # of α: rounding, where a fit was written on another machine
SCHEDULES: Final = "schedules"
HASH: Final = "schedule_hash"
_OPAQUE: Final = "opaque"


def schedule_record(clock: Clock) -> dict[str, object]:
    """For `FitResult.about`: the schedule of each factor, and a hash of all."""
    records = {factor: _record(schedule) for factor, schedule in clock.schedules.items()}
    return {SCHEDULES: records, HASH: schedule_hash(clock.schedules)}


def schedule_hash(of: Mapping[str, Schedule]) -> str:
    """16 hexadecimal digits that change with the schedule of any factor."""
    return fingerprint({factor: (type(schedule).__name__, schedule) for factor, schedule in of.items()})


def check_schedule(fit: FitResult) -> None:
    """Do nothing if a fit's schedules have its hash, and its levels lie on them.

    Raises:
        ValueError: naming what is missing, or what does not go together.
    """
    if HASH not in fit.about or SCHEDULES not in fit.about:
        raise ValueError("it does not say what noise schedule it was learned on")
    written = text(HASH, fit.about[HASH])
    records = table(SCHEDULES, fit.about[SCHEDULES])
    if records.keys() != fit.path.keys():
        raise ValueError(f"it has schedules for {', '.join(records)}, and levels for {', '.join(fit.path)}")
    rebuilt = {factor: _rebuilt(table(factor, record)) for factor, record in records.items()}
    known = {factor: schedule for factor, schedule in rebuilt.items() if schedule is not None}
    if len(known) < len(rebuilt):
        return  # there is nothing to compare with
    if (own := schedule_hash(known)) != written:
        raise ValueError(f"its schedule hash {written} is not that of its schedule, {own}: it is another's")
    for factor, schedule in known.items():
        points = fit.path[factor].solver
        alpha = schedule.alpha(torch.tensor(points.t, dtype=torch.float64))
        apart = float((alpha - torch.tensor(points.alpha, dtype=torch.float64)).abs().max())
        if apart > _SAME:
            raise ValueError(f"its levels do not lie on its schedule: α is off by up to {apart:.2g}")


def _record(schedule: Schedule) -> dict[str, Any]:
    settings = asdict(schedule) if is_dataclass(schedule) else None
    kind = {"kind": type(schedule).__name__}
    if settings is None or not all(isinstance(value, str | bool | int | float) for value in settings.values()):
        return {**kind, _OPAQUE: True}  # a table of numbers, or a class of the user's own
    return {**kind, **settings}


def _rebuilt(record: Mapping[str, object]) -> Schedule | None:
    """The schedule; None where the record does not hold it.

    Raises:
        ValueError: if its settings are not those of its class.
    """
    kind = text("kind", record.get("kind"))
    class_ = getattr(schedules, kind, None)
    if record.get(_OPAQUE) or not (isinstance(class_, type) and issubclass(class_, Schedule)):
        return None
    try:
        return class_(**{name: value for name, value in record.items() if name != "kind"})
    except TypeError as error:
        raise ValueError(f"its schedule {kind} cannot be read: {error}") from error
