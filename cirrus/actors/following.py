"""A run as its store shows it: all its events in order, under each of its drivers, until nobody drives it any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from cirrus.actors.event_log import FULL, LINES, LONGEST, part_key
from cirrus.actors.records import is_gone
from cirrus.clock import Clock
from cirrus.errors import Corrupt, NotFound, WireError
from cirrus.events import Event, RunFinished
from cirrus.store.base import ObjectStore
from cirrus.store.holding import LOOK as WATCHED
from cirrus.store.holding import PATIENCE, Seen, seen

LOOK = 0.5
"""Seconds between two looks for events."""

HOLDER = 2.0
"""Seconds between two looks at who holds the run."""

WAIT = 60.0
"""Seconds for which another driver may take up a run whose own is gone without a word."""

CHUNK = max(FULL, 2 * LONGEST)
"""Bytes that are read at once: they are decoded on the loop."""


class Pages:
    """Reads the log of a run, from its first event on; each is seen once, and in order."""

    def __init__(self, store: ObjectStore, run_id: str) -> None:
        self.epoch = 1
        self._store = store
        self._run_id = run_id
        self._part = 0
        self._at = 0
        self._number = 0

    def turn(self) -> None:
        """Go on with what the next driver has said."""
        self.epoch, self._part, self._at, self._number = self.epoch + 1, 0, 0, 0

    async def more(self) -> list[Event]:
        """The next events of this epoch, none where there are no more yet; ``Corrupt`` where one cannot be read."""
        key = part_key(self._run_id, self.epoch, self._part)
        try:
            data = await self._store.get(key, self._at, self._at + CHUNK)
        except NotFound:
            return []
        whole, newline, _ = data.rpartition(b"\n")
        if data and not newline:
            raise Corrupt(key, f"there is no line in its bytes from {self._at} on")
        events = [self._event(key, line) for line in whole.split(b"\n")] if newline else []
        self._at += len(whole) + len(newline)
        if self._at >= FULL and len(data) < CHUNK:
            self._part, self._at = self._part + 1, 0
        return events

    def _event(self, key: str, text: bytes) -> Event:
        try:
            line = LINES.from_json(str(text, "utf-8"))
        except (WireError, UnicodeDecodeError) as error:
            raise Corrupt(key, f"event {self._number} is none that this version of cirrus knows: {error}") from error
        if line.number != self._number:
            raise Corrupt(key, f"it has event {line.number} where {self._number} is due")
        self._number += 1
        return line.event


class Following:
    """Follows a run; ``say`` is told in a sentence when its driver seems to be gone."""

    def __init__(self, store: ObjectStore, run_id: str, clock: Clock, say: Callable[[str], None]) -> None:
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._say = say
        self._last: Event | None = None
        self._found: Seen | None = None
        self._looked = -HOLDER
        self._changed = clock.monotonic()
        self._missed: float | None = None

    async def events(self) -> AsyncIterator[Event]:
        """What was said, and then what is said, until the run is over or parked, or nobody takes it up again."""
        pages = Pages(self._store, self._run_id)
        while True:
            holder = await self._holder()  # before the log: what it says of the end is in the log by then
            events = await pages.more()
            for event in events:
                self._last = event
                yield event
            if events:
                continue
            if holder is not None and holder.epoch > pages.epoch:
                pages.turn()
                self._last = None
            elif self._over(holder):
                return
            else:
                await self._clock.sleep(LOOK)

    async def _holder(self) -> Seen | None:
        now = self._clock.monotonic()
        if now - self._looked >= HOLDER or isinstance(self._last, RunFinished):
            found, self._looked = await seen(self._store, self._run_id), now
            if found != self._found:
                self._found, self._changed, self._missed = found, now, None
        return self._found

    def _over(self, holder: Seen | None) -> bool:
        """Whether nothing more will be said by the driver whose events have all been read."""
        if isinstance(self._last, RunFinished) or (holder is not None and holder.state != "held"):
            return True
        now = self._clock.monotonic()
        silence = self._silence(holder, now)
        if not silence:
            self._missed = None
            return False
        if self._missed is None:
            self._missed = now
            self._say(f"run {self._run_id!r}: {silence}; cirrus resume {self._run_id} goes on with it")
        age = 0.0 if holder is None else self._clock.wall() - holder.heard
        return max(age, now - self._missed) >= WAIT

    def _silence(self, holder: Seen | None, now: float) -> str:
        """Why the driver seems to be gone; nothing where it does not."""
        if holder is None:
            return "no driver has it"
        if is_gone(holder.holder):
            return f"its driver, {holder.holder}, is gone"
        age = self._clock.wall() - holder.heard
        if 0 <= age < PATIENCE or now - self._changed < WATCHED:  # as for those who want to hold it
            return ""
        return f"its driver, {holder.holder}, has not been heard of for {max(age, now - self._changed):.0f} s"
