"""Whether a worker may go on, and why not: orders, its deadline, and the loss of its control connection."""

from __future__ import annotations

from dataclasses import dataclass

from cirrus.clock import Clock
from cirrus.core.lifetime import NEARLY
from cirrus.core.slots import Leave


@dataclass(frozen=True, slots=True)
class Leaving:
    """The worker is to leave, and why."""

    kind: Leave
    detail: str


class Standing:
    """A worker's leave to go on; jobs look at ``leaving`` between two steps.

    ``until`` is the clock's time at which the worker should have left, well before its provider would end it.
    """

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock = clock
        self._until = until
        self._leaving: Leaving | None = None

    @property
    def leaving(self) -> Leaving | None:
        """Why the worker is to leave; ``None``: it may go on."""
        if self._leaving is None and self._clock.monotonic() >= self._until:
            self._leaving = Leaving("deadline", NEARLY)
        return self._leaving

    @property
    def remaining(self) -> float:
        """Seconds until it should have left."""
        return self._until - self._clock.monotonic()

    def leave(self, kind: Leave, detail: str) -> None:
        """Leave for this reason; the first reason counts."""
        if self._leaving is None:
            self._leaving = Leaving(kind, detail)
