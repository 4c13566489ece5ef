"""A local invoker while somebody watches its workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cirrus.clock import Clock
from cirrus.cloud.base import Exit
from cirrus.cloud.local import LocalInvoker

LONG = 60.0


@asynccontextmanager
async def watched(
    command: tuple[str, ...], clock: Clock, grace: float = LONG, tick: float = 0.02
) -> AsyncIterator[LocalInvoker]:
    """The invoker of ``command``, closed in the end."""
    invoker = LocalInvoker(command, clock, grace, tick)
    watching = asyncio.ensure_future(invoker.watch())
    try:
        yield invoker
    finally:
        await invoker.close()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def next_end(invoker: LocalInvoker) -> Exit:
    """The next end that it tells of."""
    return await anext(invoker.exits())
