"""Shards on free loopback ports, and who may speak to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import aiohttp
import numpy as np

from cirrus.actors.access import Access
from cirrus.actors.link import Dial
from cirrus.actors.listening import Address, Listener
from cirrus.actors.server import Part, Server, Stop
from cirrus.actors.shard import Shard
from cirrus.actors.snapshots import Shelf, Snapshots
from cirrus.actors.steps import StepClient
from cirrus.clock import SystemClock
from cirrus.learn.base import TableSpec
from cirrus.optimizers import SGD
from cirrus.store.base import ObjectStore
from cirrus.store.memory import MemoryStore
from cirrus.wire.tokens import Claims, Role, issue

KEY = b"0123456789abcdef"
CLOCK = SystemClock()
WEIGHTS = TableSpec("weights", rows=100, width=1, optimizer=SGD(rate=1.0))
FACTORS = TableSpec("factors", rows=40, width=3, optimizer=SGD(rate=1.0))


def claims(role: Role) -> Claims:
    pool, slot = ("train", 3) if role == "worker" else ("", 0)
    return Claims("clicks", 2, role, pool, slot, 0, CLOCK.wall() + 600)


def token(role: Role = "worker", **changed: object) -> str:
    return issue(KEY, replace(claims(role), **changed))  # type: ignore[arg-type]


def bearer(role: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(role)}"}


@dataclass
class Cluster:
    """Running shards, a session to speak to them, and what they were told to stop for."""

    servers: list[Server]
    listeners: list[Listener]
    urls: tuple[str, ...]
    session: aiohttp.ClientSession
    store: ObjectStore
    stops: list[Stop]

    @property
    def shards(self) -> list[Shard]:
        return [server.shard for server in self.servers]

    def dial(self, patience: float = 10.0) -> Dial:
        return Dial(self.urls, token(), self.session, CLOCK, np.random.default_rng(7), patience)

    async def client(self, tables: Sequence[str] = ("weights",), group: int = 1) -> StepClient:
        return await StepClient.connect(self.dial(), tables, group)

    def weights(self, name: str = "weights") -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """The whole table."""
        shards = self.shards
        tables = [shard.tables[shard.numbers[name]] for shard in shards]
        whole = np.zeros((tables[0].spec.rows, tables[0].spec.width), np.float32)
        for shard, table in zip(shards, tables, strict=True):
            mine = whole[shard.shard :: len(shards)]
            mine[:] = table.read(np.arange(len(mine)))
        return whole


@asynccontextmanager
async def cluster(
    count: int = 1,
    tables: Sequence[TableSpec] = (WEIGHTS, FACTORS),
    parts: Callable[[], Sequence[Part]] = tuple,
    most: int = 100,
) -> AsyncIterator[Cluster]:
    """That many shards with those tables, in this process."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        found = Cluster([], [], (), session, MemoryStore(), [])
        for number in range(count):
            shard = Shard(number, count)
            for spec in tables:
                shard.create(spec)
            access = Access(KEY, "clicks", 2, CLOCK)
            snapshots = Snapshots(Shelf(found.store, f"shards/{number}"))
            server = Server(shard, access, snapshots, parts(), found.stops.append)
            listener = Listener(server.app, Address(), most)
            server.connections = lambda listener=listener: listener.connections  # type: ignore[misc]
            found.urls += (f"http://127.0.0.1:{await listener.start()}",)
            stack.push_async_callback(listener.stop)
            found.servers.append(server)
            found.listeners.append(listener)
        stack.push_async_callback(session.close)
        yield found
