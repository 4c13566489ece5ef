"""Workers as invocations of a Lambda function: an event for each, put on the function's queue."""

from __future__ import annotations

import asyncio
import importlib
import secrets
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from cirrus.clock import Clock
from cirrus.cloud.assignments import assignment_to_json
from cirrus.cloud.aws import Aws
from cirrus.cloud.base import Assignment, Exit, Unreached
from cirrus.cloud.prices import function_price, read_prices
from cirrus.core.ids import WorkerId
from cirrus.core.restarts import Backoff
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError
from cirrus.store.aside import aside

if TYPE_CHECKING:
    from cirrus.cloud.lambda_client import LambdaClient

_CLIENT = "cirrus.cloud.lambda_client"
"""The module that loads the SDK, by name: half a second that nobody pays before the first request."""

PATIENCE = 30.0  # seconds for which a server that cannot be reached is tried again
BACKOFF = Backoff(0.2, 2.0, 5.0)


class LambdaInvoker:
    """Starts workers at ``place``; how they end is not told, and none can be ended: fences and orders do that."""

    def __init__(self, place: Aws, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._opening: asyncio.Future[LambdaClient] | None = None
        self._over = asyncio.Event()

    async def terms(self) -> Terms:
        """The function's memory, timeout, price and room, as they are now; ``InvokeError``, ``PipelineError``."""
        self._place.check_reach()
        client = await self._client()
        found, workers = await client.function(), await client.concurrency()
        if found.state not in {"Active", "Inactive"}:
            raise InvokeError(f"function {self._place.function!r} is not ready: its state is {found.state}")
        prices = await aside(lambda: read_prices(self._place.region))
        price = function_price(self._place.region, found.architecture, prices)
        return Terms(price=price, memory=found.memory, timeout=found.timeout, workers=workers, ends="untold")

    async def invoke(self, assignment: Assignment) -> None:
        """Ask for a worker; ``Throttled``, ``Unanswered`` where it may come all the same, ``InvokeError``."""
        payload, failures = assignment_to_json(assignment).encode(), 0
        began = self._clock.monotonic()
        while True:
            client = await self._client()
            try:
                await client.invoke(payload)
            except Unreached:
                failures += 1
                pause = BACKOFF.delay(failures, secrets.SystemRandom().random())
                if self._clock.monotonic() + pause - began > PATIENCE:
                    raise
                await self._clock.sleep(pause)
            else:
                return

    async def stop(self, worker: WorkerId) -> None:
        """Lambda ends nobody before its time."""

    async def exits(self) -> AsyncIterator[Exit]:
        """None are told; it ends with ``close``."""
        await self._over.wait()
        nobody: tuple[Exit, ...] = ()
        for one in nobody:
            yield one

    async def watch(self) -> None:
        """There is nothing to do but to wait for ``close``."""
        await self._over.wait()

    async def close(self) -> None:
        """Close all connections; workers that still go on are sent away by the shards, or end with their time."""
        self._over.set()
        opening, self._opening = self._opening, None
        if opening is not None:
            await (await opening).close()

    async def _client(self) -> LambdaClient:
        if self._over.is_set():
            raise InvokeError("nothing is invoked after close")
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_future()
            try:
                module = await aside(lambda: importlib.import_module(_CLIENT))
                made = await module.LambdaClient.open(self._place, await aside(module.session))
            except BaseException as error:
                failed, self._opening = self._opening, None
                failed.set_exception(InvokeError(f"no client of Lambda could be made: {error}"))
                failed.exception()
                raise
            self._opening.set_result(made)
        return await asyncio.shield(self._opening)
