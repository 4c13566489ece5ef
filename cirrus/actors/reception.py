"""Where workers and the driver come in: the ``/control`` route of shard 0."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from aiohttp import WSMsgType, web

from cirrus.actors.access import WORK, Route, claims_of
from cirrus.actors.actor import Ref
from cirrus.actors.control import (
    FROM_DRIVER,
    FROM_WORKER,
    ControlMessage,
    DriverCame,
    DriverGone,
    DriverSpoke,
    SendAway,
    TimePasses,
    WorkerGone,
    WorkerSpoke,
)
from cirrus.actors.kernel import Kernel
from cirrus.actors.outbox import Outbox
from cirrus.core.ids import WorkerId
from cirrus.errors import Closed, WireError

MOST_BYTES = 65_536
TICK = 0.25
PATIENCE = 3.0


class Reception:
    """Turns connections into messages to the control actor."""

    def __init__(self, kernel: Kernel, control: Ref[ControlMessage]) -> None:
        self._kernel = kernel
        self._control = control

    def routes(self) -> Iterable[Route]:
        """What the shard's server has to route here."""
        return (Route("GET", "/control", WORK, self.handle),)

    async def farewell(self, reason: str) -> None:
        """Send everybody away and wait until they have gone, or for ``PATIENCE`` seconds."""
        with contextlib.suppress(Closed, TimeoutError):
            await self._control.ask(SendAway(reason), within=PATIENCE)

    async def tick(self) -> None:
        """Tell the control actor that time passes, for ever."""
        while True:
            await self._kernel.clock.sleep(TICK)
            self._control.tell(TimePasses())

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection to its end."""
        claims = claims_of(request)
        socket = web.WebSocketResponse(compress=False, max_msg_size=MOST_BYTES, heartbeat=20.0)
        try:
            await socket.prepare(request)
        except ConnectionError:  # it hung up in the middle of its request
            return socket
        outbox = Outbox()
        pump = self._kernel.task(outbox.pump(socket), name="outbox")
        try:
            if claims.role == "driver":
                await self._driver(socket, outbox)
            else:
                await self._worker(socket, outbox, WorkerId(claims.pool, claims.slot, claims.attempt))
        except WireError:
            pass  # whoever breaks the protocol is disconnected
        finally:
            outbox.close()
            await pump.cancel()
        return socket

    async def _worker(self, socket: web.WebSocketResponse, outbox: Outbox, worker: WorkerId) -> None:
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    return
                await self._control.send(WorkerSpoke(worker, outbox, FROM_WORKER.decode(message.data)))
        finally:
            await self._report(WorkerGone(worker, outbox))

    async def _driver(self, socket: web.WebSocketResponse, outbox: Outbox) -> None:
        await self._control.send(DriverCame(outbox))
        try:
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    return
                await self._control.send(DriverSpoke(outbox, FROM_DRIVER.decode(message.data)))
        finally:
            await self._report(DriverGone(outbox))

    async def _report(self, message: ControlMessage) -> None:
        with contextlib.suppress(Closed):  # the shard itself is ending
            await self._control.send(message)
