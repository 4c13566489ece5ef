"""What a watcher works with: a run of this process, or of another one through its store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from cirrus.attached import attach, kill, scale
from cirrus.cloud.places import Local
from cirrus.events import Event


class Watched(Protocol):
    """A run to watch and steer; ``cirrus.Run`` is one."""

    @property
    def run_id(self) -> str:
        """The run's name in its store."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Everything that happens, from the beginning of the run to its end."""
        ...

    async def scale(self, stage: str, workers: int) -> None:
        """Wish for another number of workers of a stage."""
        ...

    async def kill(self, *, stage: str | None = None, trial: int | None = None, reason: str = "by order") -> None:
        """End the run, or one of its trials alone."""
        ...


class Elsewhere:
    """A run that another process drives, or that has ended, found in the store of ``on`` by its id."""

    def __init__(self, run_id: str, on: Local) -> None:
        self.run_id = run_id
        self._on = on

    def events(self) -> AsyncIterator[Event]:
        """As ``cirrus.attach``."""
        return attach(self.run_id, on=self._on)

    async def scale(self, stage: str, workers: int) -> None:
        """As ``cirrus.scale``."""
        await scale(self.run_id, stage, workers, on=self._on)

    async def kill(self, *, stage: str | None = None, trial: int | None = None, reason: str = "by order") -> None:
        """As ``cirrus.kill``."""
        await kill(self.run_id, stage=stage, trial=trial, reason=reason, on=self._on)
