"""A simulated worker's line to all shards: the frames of ``cirrus.actors.steps`` over the simulated network."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.core.placement import local_row, shard_of
from cirrus.core.restarts import Backoff
from cirrus.errors import Closed, Refused
from cirrus.learn.rows import Keys
from cirrus.testing.sim.network import End, Gone, Network
from cirrus.testing.sim.world import Process
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Opened, Status, Step

BACKOFF = Backoff(first=0.05, factor=2.0, most=5.0)
PATIENCE = 60.0
GRADIENT = np.full((1, 1), -1.0, np.float32)
NO_GRADIENT = np.empty((0, 1), np.float32)
NO_KEYS = np.empty(0, np.uint32)
PULLS, OPENS = -1, -2
"""What a frame does that pushes no step."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it travels; and for those who check, of which unit and attempt it is, and which step it pushes.

    ``step`` is ``PULLS`` or ``OPENS`` where it pushes none.
    """

    data: bytes
    unit: int
    attempt: int
    step: int


class Lines:
    """Connections to all shards that work on one unit at a time; ``Closed`` where one of them is lost."""

    def __init__(self, process: Process, network: Network, addresses: tuple[str, ...]) -> None:
        self._process = process
        self._network = network
        self._addresses = addresses
        self._ends: list[End] = []
        self._unit = -1
        self._attempt = -1
        self._under_way = 0

    async def open(self, unit: int, attempt: int) -> int:
        """Work on a unit, and say which step to do first; ``Refused`` where a newer attempt does."""
        if not self._ends:
            await self._connect()
        while self._under_way:
            await self.answer(checked=False)
        self._unit, self._attempt = unit, attempt
        for end in self._ends:
            end.send(Frame(frames.encode_open(unit, attempt), unit, attempt, OPENS))
        first, stale = frames.MAX_STEP + 1, False
        for end in self._ends:
            reply = await self._reply(end)
            assert isinstance(reply, Opened)
            stale = stale or reply.status is Status.STALE
            first = min(first, reply.last + 1)
        if stale:
            raise Refused("a newer attempt works on this unit")
        return first

    def step(self, number: int, pushed: int | None, pulled: int | None) -> None:
        """Push the gradient of minibatch ``pushed``, as step ``number``; ask for the row of minibatch ``pulled``."""
        shards = len(self._addresses)
        for at, end in enumerate(self._ends):
            gradient = None
            if pushed is not None:
                gradient = (GRADIENT if shard_of(pushed, shards) == at else NO_GRADIENT,)
            keys = None if pulled is None else (_rows(pulled, at, shards),)
            data = frames.encode_step(Step(number if pushed is not None else 0, (0,), gradient, keys))
            end.send(Frame(data, self._unit, self._attempt, PULLS if pushed is None else number))
        self._under_way += 1

    async def answer(self, *, checked: bool = True) -> None:
        """Take the oldest answer of every shard; ``Refused`` where a newer attempt works on the unit."""
        stale = False
        for end in self._ends or self._lost():
            reply = await self._reply(end)
            assert isinstance(reply, Answer)
            stale = stale or reply.status is Status.STALE
        self._under_way -= 1
        if stale and checked:
            raise Refused("a newer attempt works on this unit")

    async def flush(self) -> None:
        """Return when all is acknowledged by every shard."""
        while self._under_way:
            await self.answer()

    def close(self) -> None:
        """Let go of all connections."""
        ends, self._ends = self._ends, []
        self._under_way = 0
        for end in ends:
            end.close()

    async def _connect(self) -> None:
        deadline, failures = self._process.world.now + PATIENCE, 0
        for address in self._addresses:
            while True:
                try:
                    self._ends.append(await self._network.connect(self._process, f"{address}/steps"))
                    break
                except Gone as error:
                    failures += 1
                    if self._process.world.now > deadline:
                        self.close()
                        raise Closed("a shard did not answer for a minute") from error
                await self._process.sleep(BACKOFF.delay(failures, self._process.world.chance.number()))

    async def _reply(self, end: End) -> frames.Reply:
        data = await end.receive()
        if data is None:
            self._lost()
        (reply,) = frames.replies(data)
        return reply

    def _lost(self) -> list[End]:
        self.close()
        raise Closed("a connection to a shard is lost; open the unit again")


def _rows(key: int, shard: int, shards: int) -> Keys:
    if shard_of(key, shards) != shard:
        return NO_KEYS
    return np.array([local_row(key, shards)], np.uint32)
