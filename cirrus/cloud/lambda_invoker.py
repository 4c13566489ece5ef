"""Workers as invocations of a Lambda function: an event for each, put on the function's queue."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from cirrus.clock import Clock
from cirrus.cloud.assignments import assignment_to_json
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Assignment, Exit, Unreached
from cirrus.cloud.prices import function_price, read_prices
from cirrus.core.ids import WorkerId
from cirrus.core.restarts import Backoff
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError, Throttled, Unanswered
from cirrus.store.aside import aside
from cirrus.store.sigv4 import Credentials

if TYPE_CHECKING:
    from cirrus.cloud.lambda_client import LambdaClient

_CLIENT = "cirrus.cloud.lambda_client"
"""The module that loads the SDK, by name: half a second that nobody pays before the first request."""

PATIENCE = 30.0  # seconds for which a server that cannot be reached is tried again
BACKOFF = Backoff(0.2, 2.0, 5.0)
RELEASE = "cirrus kill --all does that, and cirrus kill --all --undo ends it"

_NOBODY = Assignment("hello", 0, WorkerId("hello", 0, 0), "train", (), "memory:", "", 0, 1.0)
HELLO = f'{{"hello":{assignment_to_json(_NOBODY)}}}'.encode()
"""An event that asks a function whether it would understand an assignment."""


async def open_client(at: LambdaFunction) -> LambdaClient:
    """A client for requests about the function, to be closed; the SDK is loaded on a thread, where it is not yet."""
    module = await aside(lambda: importlib.import_module(_CLIENT))
    made: LambdaClient = await module.LambdaClient.open(at, await aside(module.session))
    return made


async def own_credentials() -> Credentials | None:
    """The keys that AWS's own tools would take here; ``None`` where they would find none."""
    module = await aside(lambda: importlib.import_module(_CLIENT))
    found: Credentials | None = await module.found_credentials(await aside(module.session))
    return found


class LambdaInvoker:
    """Starts workers as invocations of ``at``; how they end is not told, and none can be ended: fences and orders do.

    Requests for workers are sent once, for each that arrives may start one: only what surely did not arrive is sent
    again.
    """

    def __init__(self, at: LambdaFunction, clock: Clock) -> None:
        self._at = at
        self._clock = clock
        self._opening: asyncio.Future[LambdaClient] | None = None
        self._over = asyncio.Event()

    async def terms(self) -> Terms:
        """The function's memory, timeout, price and room, as they are now; ``InvokeError``, ``PipelineError``.

        The function is executed once, for what fails in it later, as an event, is told to nobody.
        """
        client = await self._client()
        found, workers = await client.function(), await client.concurrency()
        if found.state not in {"Active", "Inactive"}:
            raise InvokeError(f"function {self._at.name!r} is not ready: its state is {found.state}")
        if workers == 0:
            raise InvokeError(f"function {self._at.name!r} may not run: 0 executions are reserved for it; {RELEASE}")
        prices = await aside(lambda: read_prices(self._at.region))
        price = function_price(self._at.region, found.architecture, prices)
        began = self._clock.monotonic()
        await self._patiently(lambda: client.ask(HELLO), (Unreached, Unanswered, Throttled))
        return Terms(
            price=price, memory=found.memory, timeout=found.timeout, workers=workers, ends="untold",
            asking=self._clock.monotonic() - began,
        )  # fmt: skip

    async def invoke(self, assignment: Assignment) -> None:
        """Ask for a worker; ``Throttled``, ``Unanswered`` where it may come all the same, ``InvokeError``."""
        payload, client = assignment_to_json(assignment).encode(), await self._client()
        await self._patiently(lambda: client.invoke(payload), (Unreached,))

    async def _patiently(
        self, call: Callable[[], Awaitable[object]], passing: tuple[type[InvokeError], ...]
    ) -> None:
        """Call again, a little later each time, while the error is one of those that pass; for ``PATIENCE`` seconds."""
        failures, began = 0, self._clock.monotonic()
        while True:
            try:
                await call()
            except passing:
                failures += 1
                pause = BACKOFF.delay(failures, secrets.SystemRandom().random())
                if self._clock.monotonic() + pause - began > PATIENCE:
                    raise
            else:
                return
            await self._clock.sleep(pause)

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
            with contextlib.suppress(InvokeError):  # whoever opened it has heard of that
                await (await asyncio.shield(opening)).close()

    async def _client(self) -> LambdaClient:
        if self._over.is_set():
            raise InvokeError("nothing is invoked after close")
        if self._opening is not None:
            return await asyncio.shield(self._opening)
        opening: asyncio.Future[LambdaClient] = asyncio.get_running_loop().create_future()
        self._opening = opening
        try:
            made = await open_client(self._at)
        except BaseException as error:
            self._opening = None
            opening.set_exception(InvokeError(f"no client of Lambda could be made: {error}"))
            opening.exception()  # perhaps nobody else waits for it
            raise
        opening.set_result(made)
        return made
