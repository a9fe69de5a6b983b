"""What a fit of a warp found, in one JSON file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from ld3.learn.warp import Warp

SCHEMA = "ld3.warp_fit"
VERSION = 1


@final
@dataclass(frozen=True)
class WarpFit:
    """A learned warp and how it came about.

    Attributes:
        warp: the one with the lowest validation loss; `warp(n)` is its grid of n steps.
        solver: name of the solver it was learned for.
        nfe: budgets that it was learned on.
        start: hand-made grid that the fit started from.
        loss_start: budget -> validation loss of the start.
        loss_learned: budget -> validation loss of `warp`.
        iterations: of BFGS.
        network_evaluations: all forward evaluations of the network, per sample; the teacher's are with its pairs.
        gradient_evaluations: those of them that were also differentiated.
        failed: times that a training sample came out not finite, and was left out.
        seconds: wall time.
        config: settings.
        flow: fingerprint of the flow.
    """

    warp: Warp
    solver: str
    nfe: tuple[int, ...]
    start: str
    loss_start: Mapping[int, float]
    loss_learned: Mapping[int, float]
    iterations: int
    network_evaluations: int
    gradient_evaluations: int
    failed: int
    seconds: float
    config: Mapping[str, object]
    flow: str

    def save(self, path: Path) -> None:
        """Write the result as JSON; replaces `path` atomically."""
        content = {"schema": SCHEMA, "version": VERSION, **vars(self), "warp": json.loads(self.warp.to_json())}
        part = path.with_suffix(path.suffix + ".part")
        part.write_text(json.dumps(content, indent=2))
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path) -> WarpFit:
        """Read what `save` wrote.

        Raises:
            ValueError: naming the file, if it holds anything else.
        """
        try:
            content = json.loads(path.read_text())
            if (content.pop("schema"), content.pop("version")) != (SCHEMA, VERSION):
                raise ValueError("it is of another schema or version")
            warp = Warp.from_json(json.dumps(content.pop("warp")))
            content["nfe"] = tuple(content["nfe"])
            for name in ("loss_start", "loss_learned"):
                content[name] = {int(budget): loss for budget, loss in content[name].items()}
            return cls(warp=warp, **content)
        except (OSError, UnicodeDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no warp saved by ld3: {error}") from error
