"""A bounded queue for the messages of one actor, which can be closed under its senders.

``asyncio.Queue`` lets a sender to a dead, full queue wait for ever; here closing ends every wait at once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from cirrus.errors import Closed

M = TypeVar("M")


class LatestWins(Protocol):
    """A message of which only the newest counts, such as a progress: it replaces an unread one of the same key."""

    @property
    def latest_key(self) -> Hashable:
        """What the message is about; ``None`` makes it an ordinary message."""
        ...


def latest_key(message: object) -> Hashable | None:
    """The key of a message that declares itself ``LatestWins``; ``None`` for all others."""
    key: Hashable | None = getattr(message, "latest_key", None)
    return key


@dataclass(slots=True, eq=False)
class _Sender(Generic[M]):
    """A sender that waits for room: ``room`` becomes True when its message is in, False when the mailbox closes."""

    message: M
    room: asyncio.Future[bool]


class Mailbox(Generic[M]):
    """Messages in order of arrival, at most ``capacity`` of them unread, for one event loop.

    A latest-wins message takes the place of an unread one of the same key, or else goes to the end; it never waits
    and does not count against the capacity, so at most one per key comes on top.
    """

    def __init__(self, capacity: int = 1024, key: Callable[[M], Hashable | None] = latest_key) -> None:
        """Hold ``capacity`` ordinary messages (at least 1); ``key`` tells which messages replace each other."""
        if capacity < 1:
            raise ValueError(f"a mailbox holds at least one message, not {capacity}")
        self._capacity = capacity
        self._key = key
        self._unread: OrderedDict[Hashable, M] = OrderedDict()  # ordinary ones by a number, latest ones by (key,)
        self._ordinary = 0
        self._number = 0
        self._senders: deque[_Sender[M]] = deque()
        self._readers: deque[asyncio.Future[None]] = deque()
        self._closed: str | None = None

    def __len__(self) -> int:
        return len(self._unread)

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._closed is not None

    def put_nowait(self, message: M) -> bool:
        """Take the message in if there is room now, and say whether it was taken; ``Closed``."""
        self._check_open()
        key = self._key(message)
        if key is not None:
            self._unread[(key,)] = message
        elif self._ordinary < self._capacity:
            self._append(message)
        else:
            return False
        self._wake_reader()
        return True

    async def put(self, message: M) -> None:
        """Take the message in, waiting for room; ``Closed``, also while it waits.

        A sender that is cancelled while it waits may find that its message was taken in that very moment.
        """
        if self.put_nowait(message):
            return
        sender = _Sender(message, asyncio.get_running_loop().create_future())
        self._senders.append(sender)
        try:
            await sender.room
        except asyncio.CancelledError:
            if sender in self._senders:
                self._senders.remove(sender)
            raise
        if not sender.room.result():
            self._check_open()

    async def get(self) -> M:
        """The oldest unread message, waiting for one; ``Closed``."""
        while not self._unread:
            self._check_open()
            ready = asyncio.get_running_loop().create_future()
            self._readers.append(ready)
            try:
                await ready
            except asyncio.CancelledError:
                self._give_up(ready)
                raise
        key, message = self._unread.popitem(last=False)
        if isinstance(key, int):
            self._ordinary -= 1
        self._admit()
        return message

    def close(self, reason: str = "the mailbox is closed") -> tuple[M, ...]:
        """Refuse everything from now on, end every wait with ``Closed(reason)``, and return what was never read."""
        if self._closed is not None:
            return ()
        self._closed = reason
        unread = tuple(self._unread.values())
        self._unread.clear()
        for sender in self._senders:
            if not sender.room.done():
                sender.room.set_result(False)
        self._senders.clear()
        for ready in self._readers:
            if not ready.done():
                ready.set_result(None)
        self._readers.clear()
        return unread

    def _check_open(self) -> None:
        if self._closed is not None:
            raise Closed(self._closed)

    def _append(self, message: M) -> None:
        self._number += 1
        self._ordinary += 1
        self._unread[self._number] = message

    def _admit(self) -> None:
        """Let those in who wait for room, in their order."""
        while self._senders and self._ordinary < self._capacity:
            sender = self._senders.popleft()
            if not sender.room.done():  # else its task was cancelled and has not run since
                self._append(sender.message)
                sender.room.set_result(True)

    def _wake_reader(self) -> None:
        while self._readers:
            ready = self._readers.popleft()
            if not ready.done():
                ready.set_result(None)
                return

    def _give_up(self, ready: asyncio.Future[None]) -> None:
        """A reader was cancelled: a message that it was woken for is the next reader's."""
        if ready in self._readers:
            self._readers.remove(ready)
        elif self._unread:
            self._wake_reader()
