"""The event bus of a run: every reader gets the history first and then what happens, until the bus is closed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from itertools import count
from typing import Self
from weakref import WeakSet

from cirrus.errors import Closed
from cirrus.events import Event, LossReported, ResourcesReported, StageProgress


def curve(event: Event) -> tuple[type, str, int | None] | None:
    """What curve an event is a point of, where a slow reader may miss some: kind, stage, trial; ``None`` for others."""
    match event:
        case StageProgress(stage=stage):
            return StageProgress, stage, None
        case LossReported(stage=stage, trial=trial, final=False):
            return LossReported, stage, trial
        case ResourcesReported():
            return ResourcesReported, "", None
        case _:
            return None


class Subscription:
    """The events of a bus for one reader: an asynchronous iterator.

    At most ``most`` points (see ``curve``) wait unread; then the oldest of
    them are lost. Other events never are. The bus forgets a subscription that nobody holds any more.
    """

    def __init__(self, most: int, waiting: set[Subscription]) -> None:
        self._most = most
        self._waiting = waiting
        self._number = count()
        self._unread: OrderedDict[int, Event] = OrderedDict()
        self._points: deque[int] = deque()
        self._ready: asyncio.Future[None] | None = None
        self._closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._unread:
            if self._closed:
                raise StopAsyncIteration
            if self._ready is not None:
                raise Closed("a subscription has one reader; subscribe again for another")
            await self._wait()
        number, event = self._unread.popitem(last=False)
        if self._points and self._points[0] == number:
            self._points.popleft()
        return event

    def taken(self) -> tuple[Event, ...]:
        """All that waits unread, for a reader who comes from time to time."""
        events = tuple(self._unread.values())
        self._unread.clear()
        self._points.clear()
        return events

    def offer(self, event: Event) -> None:
        """Take an event in; called by the bus."""
        number = next(self._number)
        self._unread[number] = event
        if curve(event) is not None:
            self._points.append(number)
            if len(self._points) > self._most:
                del self._unread[self._points.popleft()]
        self._wake()

    def close(self) -> None:
        """End the iteration after what is still unread; called by the bus."""
        self._closed = True
        self._wake()

    async def aclose(self) -> None:
        """Stop reading; for ``contextlib.aclosing``, which is not needed."""
        self._unread.clear()
        self._points.clear()
        self.close()

    async def _wait(self) -> None:
        self._ready = asyncio.get_running_loop().create_future()
        self._waiting.add(self)  # else nothing might hold a task that waits here
        try:
            await self._ready
        finally:
            self._waiting.discard(self)
            self._ready = None

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class EventBus:
    """What a run says, for any number of readers on one event loop.

    ``unread`` limits the points that wait for one slow reader. ``history`` limits the points that are kept for late
    readers, for each stage and kind: when there are more, every second one is dropped, but never the newest.
    """

    def __init__(self, unread: int = 1024, history: int = 1024) -> None:
        """Both limits are at least 2."""
        if min(unread, history) < 2:
            raise ValueError("limits of a bus are at least 2")
        self._unread = unread
        self._most = history
        self._number = count()
        self._history: dict[int, Event] = {}  # in order of publication; dropping leaves the others where they are
        self._points: dict[tuple[type, str, int | None], list[int]] = {}
        self._readers: WeakSet[Subscription] = WeakSet()
        self._waiting: set[Subscription] = set()
        self._closed = False

    @property
    def readers(self) -> int:
        """How many subscriptions somebody holds."""
        return len(self._readers)

    @property
    def history(self) -> tuple[Event, ...]:
        """What a reader who comes now would be told first."""
        return tuple(self._history.values())

    def publish(self, event: Event) -> None:
        """Tell all readers, those who are there and those who come; what is said after ``close`` is not heard."""
        if self._closed:
            return
        self._keep(event)
        for reader in self._readers:
            reader.offer(event)

    def subscribe(self) -> Subscription:
        """Everything from the beginning, points thinned out, then what happens, until the bus is closed."""
        history = self.history
        points = sum(curve(event) is not None for event in history)
        reader = Subscription(max(self._unread, points), self._waiting)
        for event in history:
            reader.offer(event)
        if self._closed:
            reader.close()
        else:
            self._readers.add(reader)
        return reader

    def close(self) -> None:
        """End every iteration after its last event."""
        self._closed = True
        for reader in self._readers:
            reader.close()
        self._readers.clear()

    def _keep(self, event: Event) -> None:
        number = next(self._number)
        self._history[number] = event
        key = curve(event)
        if key is not None:
            points = self._points.setdefault(key, [])
            points.append(number)
            if len(points) > self._most:
                for dropped in points[-2::-2]:
                    del self._history[dropped]
                points[:] = points[::-1][::2][::-1]
