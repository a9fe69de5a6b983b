"""Times the parts of a computation, in CPU and wall seconds, by wrapping the functions that do them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final


@final
@dataclass
class Stopwatch:
    """Part -> CPU seconds of all threads; time inside of a part within another counts for the inner one alone."""

    seconds: dict[str, float] = field(default_factory=dict)
    _inner: list[float] = field(default_factory=list)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside for `name`."""
        began = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            taken = time.process_time() - began
            self.seconds[name] = self.seconds.get(name, 0.0) + taken - self._inner.pop()
            if self._inner:
                self._inner[-1] += taken

    @contextmanager
    def watching(self, parts: Mapping[str, list[tuple[object, str]]]) -> Iterator[None]:
        """Count the calls of functions, each given as (module or class, name), for their parts."""
        kept = [(owner, name, getattr(owner, name)) for functions in parts.values() for owner, name in functions]
        try:
            for part, functions in parts.items():
                for owner, name in functions:
                    setattr(owner, name, self._wrapped(getattr(owner, name), part))
            yield
        finally:
            for owner, name, function in kept:
                setattr(owner, name, function)

    def _wrapped(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            with self.part(part):
                return function(*arguments, **named)

        return timed
