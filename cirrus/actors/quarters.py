"""Where a run's shards live: beside the driver, or on hosts elsewhere, with certificates of the run's own authority."""

from __future__ import annotations

from contextlib import AsyncExitStack

from aiohttp import ClientSession

from cirrus.actors.hosted_seat import HostedSeat
from cirrus.actors.hosting import OpenShard
from cirrus.actors.kernel import Kernel
from cirrus.actors.seats import LocalSeat, Machine, Seat
from cirrus.actors.shards import Plan
from cirrus.actors.trust import trusting
from cirrus.cloud.hosts import Lodger, ShardHosts, new_authority
from cirrus.core.cost import Meter
from cirrus.store.aside import aside
from cirrus.wire.tls import Identity

DAYS = 30.0
"""For which certificates are good: a driver's token lasts as long."""


class Quarters:
    """Made for one run; ``close`` ends what it has opened elsewhere. ``hosts`` are elsewhere; ``None``: none are.

    ``session`` is for requests to the shards. ``ca`` is the authority that workers are to trust, empty where shards
    are on this machine.
    """

    def __init__(self, hosts: ShardHosts | None, machine: Machine) -> None:
        self.ca = ""
        self._hosts = hosts
        self._machine = machine
        self._clock = machine.clock
        self._stack = AsyncExitStack()
        self._session: ClientSession | None = None
        self._elsewhere: tuple[HostedSeat, ...] = ()

    @property
    def session(self) -> ClientSession:
        """For requests to the shards; there are seats by then."""
        assert self._session is not None
        return self._session

    async def seats(self, plan: Plan, meter: Meter) -> tuple[Seat, ...]:
        """A seat for each shard of the plan; nothing is started in them yet."""
        if self._hosts is None:
            self._session = await self._stack.enter_async_context(ClientSession())
            return tuple(LocalSeat(self._machine, plan, number) for number in range(plan.shards))
        now = self._clock.wall()
        authority = await aside(lambda: new_authority(f"cirrus run {plan.run_id}", now, DAYS))
        self.ca = authority.ca
        session = self._session = await self._stack.enter_async_context(trusting(self.ca))
        ready = await self._stack.enter_async_context(
            self._hosts.hosting(Lodger(plan.run_id, plan.epoch, plan.store), self._clock, meter)
        )
        hosts = await ready()
        mine = [hosts[number % len(hosts)] for number in range(plan.shards)]
        identities = await aside(lambda: [authority.identity([host.address]) for host in mine])
        self._elsewhere = tuple(
            HostedSeat(self._clock, session, host, _opened(plan, number, identity))
            for number, (host, identity) in enumerate(zip(mine, identities, strict=True))
        )
        return self._elsewhere

    async def close(self) -> None:
        """End the shards that are elsewhere, with snapshots unless they have ended, and let go of everything."""
        async with Kernel(self._clock) as kernel:
            for task in [kernel.task(seat.leave(), name="a shard leaves") for seat in self._elsewhere]:
                await task.wait()
        await self._stack.aclose()


def _opened(plan: Plan, number: int, identity: Identity) -> OpenShard:
    return OpenShard(
        plan.run_id, plan.epoch, plan.key.hex(), number, plan.shards, plan.store, plan.restore, 0,
        identity.certificate, identity.key,
    )  # fmt: skip
