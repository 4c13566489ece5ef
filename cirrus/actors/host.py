"""The process of a run's shard: the parameter server, and on shard 0 the control actor beside it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from cirrus.actors.control import Control
from cirrus.actors.kernel import Kernel
from cirrus.actors.reception import Reception
from cirrus.actors.server import Part, Stop
from cirrus.actors.shard_process import Config, main
from cirrus.clock import SystemClock


@asynccontextmanager
async def open_parts(config: Config, stop: Callable[[Stop], None]) -> AsyncIterator[Sequence[Part]]:
    """The control actor, on shard 0 alone; without a driver for too long the run is parked."""
    if config.shard != 0:
        yield ()
        return
    clock = SystemClock()
    async with Kernel(clock) as kernel:
        control = Control(secrets.token_hex(8), clock, lambda: stop(Stop("the driver is gone", save=True)))
        reception = Reception(kernel, kernel.spawn(control, name="control"))
        kernel.task(reception.tick(), name="control.tick")
        yield (reception,)


if __name__ == "__main__":
    main(open_parts)
