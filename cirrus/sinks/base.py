"""The port to sinks: where what a run says goes, besides its store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, runtime_checkable

from cirrus.actors.kernel import Kernel
from cirrus.events import Event


class Outlet(Protocol):
    """A sink that is open for one run. Neither method raises, whatever becomes of the sink."""

    @property
    def dropped(self) -> int:
        """How many events have not reached the sink, and will not any more."""
        ...

    @property
    def problem(self) -> str:
        """What went wrong last; empty where nothing did."""
        ...

    async def follow(self, events: AsyncIterator[Event]) -> None:
        """Take in all events as they come; never waits for the sink."""
        ...

    async def pour(self) -> None:
        """Bring to the sink what was taken in, until ``finish``, and then the rest."""
        ...

    def finish(self) -> None:
        """Nothing more will be taken in."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where events go, as a frozen value; ``name`` says it to people."""

    @property
    def name(self) -> str:
        """Its kind and place, such as ``jsonl('events.jsonl')``."""
        ...

    def outlet(self, kernel: Kernel) -> Outlet:
        """Open it for one run whose ``kernel`` owns what it needs; opens no file and no connection yet."""
        ...


class Writer(Protocol):
    """What is written on a thread of its own, which may block; see ``Written``."""

    def take(self, event: Event) -> None:
        """Make of an event what ``flush`` writes; ``ValueError`` where it cannot be, and it is left out."""
        ...

    def flush(self) -> None:
        """Write what was taken; where that fails, it raises, and writes the rest when it is called again."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...
