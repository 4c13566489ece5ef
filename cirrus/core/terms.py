"""On which terms a provider's workers are to be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cirrus.core.cost import FREE, Price

Ends = Literal["told", "untold"]
"""Whether the provider tells how its workers have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What workers cost and how they are limited, as the provider says; ``None``: as is asked for.

    ``memory`` (MB) is what every worker has and is billed for. ``timeout`` is the most seconds that one may take.
    ``workers`` is how many there may be at a time, of this run and of everything else that the limit covers.
    ``asking``: seconds for which one execution was billed to learn all this.
    """

    price: Price = FREE
    memory: int | None = None
    timeout: float | None = None
    workers: int | None = None
    ends: Ends = "told"
    asking: float = 0.0

    def billed_memory(self, asked: int) -> int:
        """MB that are billed for a worker that should have ``asked``."""
        return asked if self.memory is None else self.memory

    def billed_timeout(self, asked: float) -> float:
        """Seconds after which a worker that should leave after ``asked`` is surely over."""
        return asked if self.timeout is None else self.timeout

    def timeout_of(self, asked: float) -> float:
        """Seconds that a worker may take that should leave after ``asked``."""
        return asked if self.timeout is None else min(asked, self.timeout)
