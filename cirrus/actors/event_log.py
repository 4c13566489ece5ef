"""A run's events in its store, for readers in other processes and on other days.

Each driver writes below its own epoch, one event a line of JSON, numbered from 0. A part of the log is an object that
grows until it has ``FULL`` bytes, and is never written again once there is a next one. So a reader needs no list: it
asks for what comes behind the bytes that it has, and knows from their number when the next part begins.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from cirrus.actors.bus import EventBus, curve
from cirrus.clock import Clock
from cirrus.errors import Conflict, StoreError, WireError
from cirrus.events import Event, StageProgress, StageResumed
from cirrus.store.base import ObjectStore
from cirrus.wire.codec import Codec

FULL = 65_536
"""Bytes from which on a part takes no more events."""

LONGEST = 32_768
"""Characters that a line may have."""

PAUSE = 1.0
"""Seconds between two writes."""

POINTS = 1024
"""Points of one curve that are all kept; of those that follow, only the newest of each write."""


@dataclass(frozen=True, slots=True)
class Line:
    """An event, and how many its driver had said before it."""

    number: int
    event: Event


LINES: Codec[Line] = Codec(Line, LONGEST)


def part_key(run_id: str, epoch: int, part: int) -> str:
    """The key of a part of the log; parts count from 0 in each epoch."""
    return f"runs/{run_id}/events/{epoch:08d}-{part:08d}.jsonl"


async def steps_said(store: ObjectStore, run_id: str, epoch: int) -> dict[str, int]:
    """How many steps of a training stage were done when a driver before that epoch last wrote so, by the stage's name.

    Only the newest part of the logs that says something of steps is read; what cannot be read says nothing.
    """
    parts = [info.key async for info in store.list(f"runs/{run_id}/events/")]
    found: dict[str, int] = {}
    for key in reversed([one for one in parts if one < part_key(run_id, epoch, 0)]):
        for line in (await store.get(key)).splitlines():
            with contextlib.suppress(WireError, UnicodeDecodeError):
                match LINES.from_json(str(line, "utf-8")).event:
                    case StageProgress(stage=stage, steps=steps) | StageResumed(stage=stage, steps=steps) if steps:
                        found[stage] = steps
                    case _:
                        pass
        if found:
            break
    return found


class EventLog:
    """Writes what a bus says. While the store cannot be written, events wait, and points of curves are thinned out."""

    def __init__(self, store: ObjectStore, run_id: str, epoch: int, bus: EventBus) -> None:
        self._store = store
        self._run_id = run_id
        self._epoch = epoch
        self._reader = bus.subscribe()
        self._number = 0
        self._points: Counter[tuple[type, str, int | None]] = Counter()
        self._part = 0
        self._lines = b""
        self._written = 0
        self._etag = ""

    async def keep(self, clock: Clock) -> None:
        """Write from time to time, for ever; a store that fails is tried again the next time."""
        while True:
            await clock.sleep(PAUSE)
            with contextlib.suppress(StoreError):
                await self.write()

    async def write(self) -> None:
        """Write what was said since the last time; ``StoreError``, and it is all written the next time."""
        await self._put()
        self._add(self._reader.taken())
        await self._put()

    async def close(self, last: Event) -> None:
        """Write the rest, and ``last`` as the driver's last word; ``StoreError``."""
        await self.write()
        self._add((last,))
        await self._put()

    def _add(self, events: tuple[Event, ...]) -> None:
        lines = [self._lines]
        for event in self._kept(events):
            with contextlib.suppress(WireError):  # longer than a line can be: no reason to end a run
                lines.append(LINES.to_json(Line(self._number, event)).encode() + b"\n")
                self._number += 1
        self._lines = b"".join(lines)

    def _kept(self, events: tuple[Event, ...]) -> Iterator[Event]:
        newest = {curve(event): place for place, event in enumerate(events)}
        for place, event in enumerate(events):
            kind = curve(event)
            if kind is None or newest[kind] == place or self._points[kind] < POINTS:
                yield event
            if kind is not None:
                self._points[kind] += 1

    async def _put(self) -> None:
        """Write the part as it is now, which nobody else writes: under a condition, for a write may come late."""
        key, data = part_key(self._run_id, self._epoch, self._part), self._lines
        while self._written < len(data):
            try:
                if self._etag:
                    self._etag = await self._store.replace_if(key, data, self._etag)
                else:
                    self._etag = await self._store.put_if_absent(key, data)
            except Conflict:  # a write of ours got through whose answer did not
                found = (await self._store.info(key)).etag
                if found == self._etag:
                    raise
                self._etag = found
            else:
                self._written = len(data)
        if len(data) >= FULL:
            self._part, self._lines, self._written, self._etag = self._part + 1, b"", 0, ""
