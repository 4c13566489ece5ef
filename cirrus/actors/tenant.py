"""One shard of one run on a host that serves shards, from its opening to its end."""

from __future__ import annotations

import asyncio

from cirrus.actors.hosting import NEWS, Down, OpenShard, Up
from cirrus.actors.outbox import Outbox
from cirrus.actors.seats import LocalSeat, Machine
from cirrus.actors.shards import Plan
from cirrus.errors import CirrusError, Closed
from cirrus.wire.tls import Identity

GRACE = 30.0
"""Seconds for a last snapshot."""


class Tenant:
    """A shard for the driver that has opened it; ``run`` is its life, which whoever made it runs as a task."""

    def __init__(self, machine: Machine, opened: OpenShard, port: int) -> None:
        self.epoch = opened.epoch
        self._clock = machine.clock
        self._outbox: Outbox | None = None
        self._gone = machine.clock.monotonic()
        self._said: Up | Down | None = None
        self._ending = False
        self._over = asyncio.Event()
        plan = Plan(
            opened.run_id, opened.epoch, bytes.fromhex(opened.key), opened.shards, opened.store, opened.restore,
            machine.host, Identity(opened.certificate, opened.private_key),
        )  # fmt: skip
        self._seat = LocalSeat(machine, plan, opened.shard, port, self._is_wanted)

    @property
    def port(self) -> int:
        """Where the shard listens; 0 before that is known."""
        return self._seat.port

    def alone(self, now: float) -> float:
        """Seconds since its driver was last connected."""
        return 0.0 if self._outbox is not None else now - self._gone

    def joined(self, outbox: Outbox) -> None:
        """Its driver is connected, once more perhaps; the newest connection counts, and hears how things stand."""
        if self._outbox is not None:
            self._outbox.end()
        self._outbox = outbox
        if self._said is not None:
            outbox.put(NEWS.encode(self._said))

    def left(self, outbox: Outbox) -> None:
        """A connection has ended."""
        if self._outbox is outbox:
            self._outbox, self._gone = None, self._clock.monotonic()

    async def run(self) -> None:
        """Start the shard, and start it again when it dies, until it is over."""
        try:
            now = await self._seat.start()
            while True:
                self._tell(Up(self._seat.port, now.pid, now.skipped, now.reason))
                if self._ending:  # it was ended before it was there
                    await self._seat.leave(GRACE)
                now = await self._seat.again()
        except Closed:
            pass
        except CirrusError as error:
            self._tell(Down(str(error)))
        finally:
            self._over.set()

    async def end(self) -> None:
        """Have it end, with a snapshot, and return when it has."""
        self._ending = True
        await self._seat.leave(GRACE)
        await self._over.wait()
        if self._outbox is not None:
            self._outbox.end()

    def _is_wanted(self, code: int | None) -> bool:
        """Whether the shard is to be started again: not where it was told to end, by its driver or by ``end``."""
        return not self._ending and (code != 0 or self._outbox is not None)

    def _tell(self, news: Up | Down) -> None:
        self._said = news
        if self._outbox is not None:
            self._outbox.put(NEWS.encode(news))
