"""A worker's line to all shards: pull rows, push gradients, several steps in flight, each step counted once.

A minibatch's rows are asked for by an ``Ask``, which sorts its keys out by shard; make it ahead of time and keep it,
since the same minibatch comes again in the next epoch. Every shard gets a frame for every step, even where it holds
none of its rows, so that every ledger and clock counts every step. One unit, ``depth`` steps in flight::

    first = await client.open(unit, attempt)
    for step in range(first, min(first + depth, count)):
        await client.pull(asks[step])
    for step in range(first, count):
        gradients = gradient(step, await client.rows())
        if step + depth < count:
            await client.push_pull(step, gradients, asks[step + depth])
        else:
            await client.push(step, gradients)
    await client.flush()

Who knows the next unit need not wait at the end of this one: ``open_ahead`` goes out with the last push, pulls for the
next unit's first steps follow at once, and ``opened`` tells where that unit stands when its turn has come.

``Closed`` from any of them means that a connection is gone and what was in flight is settled by opening the unit again:
``open`` connects anew, voids all open pulls and says from which step on some shard has to be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np
from numpy.typing import NDArray

from cirrus.actors.link import Dial, Link, connect
from cirrus.core.placement import local_row, shard_of
from cirrus.errors import Closed, Refused, WireError
from cirrus.learn.rows import Floats, Keys
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Opened, Read, Status

_DUPLICATE, _STALE = Status.DUPLICATE, Status.STALE  # Python 3.11 runs code each time that a member is named

READ_BYTES = 4 * 1024 * 1024
"""Bytes of rows that one frame asks for when a model is read."""


@dataclass(frozen=True, slots=True)
class _Opening:
    """A unit that is opened ahead."""

    unit: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Rows of the model's tables, sorted out by shard.

    ``counts[t]``: rows of table ``t``. ``local[s][t]``: local rows on shard ``s``. ``where[s][t]``: their places among
    the rows of table ``t``; ``None`` where there is one shard, which has them all in order.
    """

    counts: tuple[int, ...]
    local: tuple[tuple[Keys, ...], ...]
    where: tuple[tuple[NDArray[np.intp], ...], ...] | None


def ask(keys: Sequence[Keys], shards: int) -> Ask:
    """Sort out strictly ascending rows of each table, uint32, by the shard that holds them."""
    counts = tuple([len(one) for one in keys])
    if shards == 1:
        return Ask(counts, (tuple(keys),), None)
    where = tuple([tuple([np.flatnonzero(shard_of(one, shards) == shard) for one in keys]) for shard in range(shards)])
    local = [[local_row(one[at], shards) for one, at in zip(keys, places, strict=True)] for places in where]
    return Ask(counts, tuple([tuple(one) for one in local]), where)


class StepClient:
    """Connections to all shards that work on one unit at a time. ``duplicates``: steps that some shard had already.

    ``clock``: steps that had been applied to the first table when the last answer was made.

    ``tables`` are the names of the model's tables, in the order of its kernel. ``group``: how many frames to gather in
    one message; more than 1 saves processor time where at least twice as many steps are in flight.
    """

    def __init__(self, dial: Dial, tables: Sequence[str], group: int = 1) -> None:
        self._dial = dial
        self._tables = tuple(tables)
        self._group = group
        self._links: list[Link] = []
        self._sent: deque[tuple[int, Ask | None] | _Opening] = deque()  # to be answered: a step and the rows asked for
        self._ahead: tuple[_Opening, int | None] | None = None  # the unit opened ahead, and where it stands if known
        self._unsent = 0
        self._owed: deque[Ask] = deque()
        self._ready: deque[tuple[Floats, ...]] = deque()
        self.duplicates = 0
        self.clock = 0

    @classmethod
    async def connect(cls, dial: Dial, tables: Sequence[str], group: int = 1) -> StepClient:
        """Connect to all shards; ``Refused`` where the token is not accepted, ``Closed`` where patience ends."""
        client = cls(dial, tables, group)
        client._links = await connect(dial, client._tables)
        return client

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return len(self._dial.urls)

    def ask(self, keys: Sequence[Keys]) -> Ask:
        """Sort out the rows of a minibatch, one array for each table."""
        return ask(keys, self.shards)

    async def open(self, unit: int, attempt: int) -> int:
        """Work on a unit from now on, and say which step to do first; connects again where connections were lost.

        ``Refused`` where a newer attempt works on it. Whatever was in flight is void.
        """
        if not self._links:
            self._links = await connect(self._dial, self._tables)
        await self._settle()
        self._add_open(_Opening(unit, attempt))
        await self._send()
        return await self._first(_Opening(unit, attempt))

    async def open_ahead(self, unit: int, attempt: int) -> None:
        """Send what waits, and that all that follows is about this unit, as if none of its steps were counted yet."""
        opening = _Opening(unit, attempt)
        self._ahead = opening, None
        self._add_open(opening)
        self._sent.append(opening)
        self._unsent += 1

    async def opened(self, unit: int, attempt: int) -> int | None:
        """The step of a unit opened ahead that is to be done first; ``None``: it has to be opened.

        Unless that is step 0, what was pulled ahead is of no use. ``Refused`` as by ``open``.
        """
        while self._ahead is not None and self._ahead[0] == _Opening(unit, attempt):
            if self._ahead[1] is not None:
                first, self._ahead = self._ahead[1], None
                return first
            await self._receive()
        return None

    def _add_open(self, opening: _Opening) -> None:
        for link in self._connected():
            link.add(frames.encode_open(opening.unit, opening.attempt))

    async def _first(self, opening: _Opening) -> int:
        """The smallest step that some shard lacks of the unit whose opening is to be answered next."""
        first = frames.MAX_STEP + 1
        stale = False
        for link in self._connected():
            reply = await self._next(link)
            if not isinstance(reply, Opened) or reply.unit != opening.unit:
                raise await self._broken("another answer than to opening the unit")
            stale = stale or reply.status is Status.STALE
            first = min(first, reply.last + 1)
        if stale:
            raise Refused(f"unit {opening.unit}: attempt {opening.attempt} is outdated")
        return first

    async def connect_again(self) -> None:
        """Connect to all shards anew, for reading; to learn on, ``open`` does it by itself."""
        await self.close()
        self._links = await connect(self._dial, self._tables)

    async def pull(self, wanted: Ask) -> None:
        """Ask for the rows of a step; ``rows`` hands them out."""
        self._step(0, None, wanted)
        if self._unsent >= self._group:
            await self._send()

    async def push(self, step: int, gradients: Sequence[Floats], *, more: bool = False) -> None:
        """Push the gradients of the oldest rows that were pulled: float32 of shape (rows, width) for each table.

        ``more``: something follows at once that may go out in the same message.
        """
        self._step(step, gradients, None)
        if self._unsent >= self._group and not more:
            await self._send()

    async def push_pull(self, step: int, gradients: Sequence[Floats], wanted: Ask) -> None:
        """Push the gradients of the oldest rows that were pulled, and ask for those of a later step."""
        self._step(step, gradients, wanted)
        if self._unsent >= self._group:
            await self._send()

    async def rows(self) -> tuple[Floats, ...]:
        """The rows that were asked for first and not handed out yet; they may be read-only."""
        while not self._ready:
            if not self._sent:
                raise WireError("no rows were asked for")
            await self._receive()
        return self._ready.popleft()

    async def flush(self) -> None:
        """Return when all that was pushed is acknowledged by every shard; a unit opened ahead goes on meanwhile."""
        while self._sent and not isinstance(self._sent[0], _Opening):
            await self._receive()

    async def read(self, keys: Sequence[Keys]) -> tuple[Floats, ...]:
        """The rows of each table for looking at them only; nothing may be in flight."""
        if self._sent:
            raise WireError("a model is not read while steps are in flight")
        widths = self._connected()[0].widths
        size = sum([4 * len(one) * width for one, width in zip(keys, widths, strict=True)])
        pieces = max(1, -(-size // READ_BYTES))
        found = [
            await self._piece([one[len(one) * at // pieces : len(one) * (at + 1) // pieces] for one in keys])
            for at in range(pieces)
        ]
        return found[0] if pieces == 1 else tuple([np.concatenate(parts) for parts in zip(*found, strict=True)])

    async def close(self) -> None:
        """Let go of all connections."""
        links, self._links = self._links, []
        self._forget()
        for link in links:
            await link.close()

    async def _piece(self, keys: Sequence[Keys]) -> tuple[Floats, ...]:
        wanted = self.ask(keys)
        for link, local in zip(self._links, wanted.local, strict=True):
            link.add(frames.encode_read(Read(link.numbers, local)))
        await self._send()
        self._sent.append((0, wanted))
        await self._receive()
        return self._ready.pop()

    def _step(self, step: int, gradients: Sequence[Floats] | None, wanted: Ask | None) -> None:
        links = self._connected()
        parts = [None] * len(links) if gradients is None else self._parts(gradients)
        for at, link in enumerate(links):
            link.add_step(step, parts[at], None if wanted is None else wanted.local[at])
        if wanted is not None:
            self._owed.append(wanted)
        self._sent.append((step, wanted))
        self._unsent += 1

    def _parts(self, gradients: Sequence[Floats]) -> Sequence[tuple[Floats, ...]]:
        """The gradients of the oldest rows that were pulled, sorted out by shard."""
        if not self._owed:
            raise WireError("gradients for rows that were not pulled")
        owed = self._owed.popleft()
        if owed.where is None:
            return (tuple(gradients),)
        return [tuple([one[at] for one, at in zip(gradients, places, strict=True)]) for places in owed.where]

    async def _receive(self) -> None:
        """Take the oldest answer of every shard."""
        if len(self._sent) <= self._unsent:
            await self._send()
        head = self._sent[0]
        if isinstance(head, _Opening):
            self._sent.popleft()
            self._ahead = None
            self._ahead = head, await self._first(head)
            return
        step, wanted = head
        rows = await self._answers(step, wanted)
        if wanted is not None:
            self._ready.append(_joined(wanted, rows))

    async def _answers(self, step: int, wanted: Ask | None) -> list[tuple[Floats, ...]]:
        """The rows of each shard; ``Refused`` where one knows a newer attempt."""
        rows = []
        duplicate = stale = False
        for at, link in enumerate(self._connected()):
            reply = link.ready() or await self._next(link)
            if not isinstance(reply, Answer):
                raise await self._broken("another answer than to a step")
            status, _, self.clock, found = reply
            if status is _STALE:
                stale = True
            elif not _fits(found or (), () if wanted is None else wanted.local[at]):
                raise await self._broken("an answer to something else")
            duplicate = duplicate or status is _DUPLICATE
            rows.append(found or ())
        self._sent.popleft()
        self.duplicates += duplicate
        if stale:
            raise Refused(f"step {step}: a newer attempt works on this unit")
        return rows

    async def _settle(self) -> None:
        """Take the answers that nobody waits for any more."""
        while self._sent:
            if len(self._sent) <= self._unsent:
                await self._send()
            for link in self._connected():
                await self._next(link)
            self._sent.popleft()
        self._forget()

    def _forget(self) -> None:
        self._sent.clear()
        self._owed.clear()
        self._ready.clear()
        self._unsent = 0
        self._ahead = None

    def _connected(self) -> list[Link]:
        if not self._links:
            raise Closed("the connections to the shards are lost; open the unit again")
        return self._links

    async def _send(self) -> None:
        self._unsent = 0
        try:
            for link in self._connected():
                await link.send()
        except (aiohttp.ClientError, OSError) as error:
            raise await self._broken("a connection to a shard is lost") from error

    async def _next(self, link: Link) -> frames.Reply:
        try:
            return await link.next()
        except (WireError, Closed, aiohttp.ClientError, OSError) as error:
            raise await self._broken("a connection to a shard is lost") from error

    async def _broken(self, why: str) -> Closed:
        await self.close()
        return Closed(f"{why}; open the unit again")


def _fits(rows: tuple[Floats, ...], keys: tuple[Keys, ...]) -> bool:
    return [len(one) for one in rows] == [len(one) for one in keys]


def _joined(wanted: Ask, rows: list[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    """The rows of all shards in the order in which they were asked for."""
    if wanted.where is None:
        return rows[0]
    joined = tuple([np.empty((n, one.shape[1]), np.float32) for n, one in zip(wanted.counts, rows[0], strict=True)])
    for places, parts in zip(wanted.where, rows, strict=True):
        for whole, at, part in zip(joined, places, parts, strict=True):
            whole[at] = part
    return joined
