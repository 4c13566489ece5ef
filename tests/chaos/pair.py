"""Real shard processes, somebody who learns from them through proxies, and what the weights must come to."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import numpy as np
from numpy.testing import assert_array_equal

from cirrus.actors.kernel import Kernel
from cirrus.actors.link import Dial
from cirrus.actors.steps import StepClient
from cirrus.clock import SystemClock
from cirrus.errors import Closed
from cirrus.testing.faults import Plan, sound
from cirrus.testing.proxy import Proxy, proxied
from tests.actors.shards import CLOCK, bearer, token
from tests.actors.test_shard_process import config, create, process
from tests.actors.test_steps import counted, work

ALL = np.arange(100, dtype=np.uint32)


@dataclass
class Pair:
    """Shards that listen at ``urls``, and the proxies before them."""

    session: aiohttp.ClientSession
    proxies: list[Proxy]
    urls: list[str]
    pids: list[int]
    duplicates: int = 0
    breaks: int = 0

    @property
    def proxy(self) -> Proxy:
        """The first shard's."""
        return self.proxies[0]

    async def client(self, urls: Sequence[str] = ()) -> StepClient:
        """Somebody who learns, through the proxies unless another way is named."""
        way = tuple(urls or [one.url for one in self.proxies])
        dial = Dial(way, token(), self.session, CLOCK, np.random.default_rng(3), 20.0)
        return await StepClient.connect(dial, ["weights"])

    async def learn(self, *units: int, depth: int = 3) -> None:
        """Work through the units, beginning again wherever a connection broke, as workers do."""
        client = await self.client()
        try:
            for attempt, unit in enumerate(units, 1):
                while True:
                    try:
                        await work(client, unit, attempt, depth)
                        break
                    except Closed:
                        self.breaks += 1
        finally:
            self.duplicates += client.duplicates
            await client.close()

    async def counted(self, *units: int) -> None:
        """Every step of these units has counted once, and nothing else has."""
        client = await self.client(self.urls)
        assert_array_equal((await client.read([ALL]))[0], counted(*units))
        await client.close()

    async def figures(self) -> dict[str, float]:
        """The first shard's metrics, by their names without what all begin with."""
        async with self.session.get(f"{self.urls[0]}/metrics", headers=bearer("driver")) as answer:
            text = await answer.text()
        return {name: float(value) for name, value in re.findall(r"^cirrus_shard_(\w+){.*} (\S+)$", text, re.MULTILINE)}


@asynccontextmanager
async def pair(folder: Path, *plans: Plan) -> AsyncIterator[Pair]:
    """A shard process behind a proxy for each plan; without any, one to which nothing happens."""
    every = plans or (sound,)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        kernel = await stack.enter_async_context(Kernel(SystemClock()))
        found = Pair(session, [], [], [])
        for number, plan in enumerate(every):
            shard, url = await stack.enter_async_context(process(config(folder, number, len(every))))
            proxy = await stack.enter_async_context(proxied(kernel, plan))
            proxy.target = url
            found.proxies.append(proxy)
            found.urls.append(url)
            found.pids.append(shard.pid)
        await create(session, *found.urls)
        yield found
