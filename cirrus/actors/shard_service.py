"""A host that stays, and serves shards for runs whose drivers know its secret.

Each shard is a process of its own, with a port and a certificate of its run's. It ends when its driver says so, when a
newer driver of the run opens it, or some time after its driver was last heard of; it saves a snapshot then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiohttp import WSMsgType, web

from cirrus.actors.access import ANYBODY, DRIVER, Access, Route, claims_of
from cirrus.actors.hosting import END, NEWS, OPEN, Down, OpenShard
from cirrus.actors.kernel import Kernel
from cirrus.actors.outbox import Outbox
from cirrus.actors.requests import body
from cirrus.actors.seats import Machine
from cirrus.actors.tenant import Tenant
from cirrus.errors import WireError
from cirrus.wire.codec import LARGEST
from cirrus.wire.tokens import Claims

FIRST_WORDS = 5.0  # seconds for the driver to say what it wants
TICK = 0.5
FULL = "this host has no port left for another shard"


class _HostAccess(Access):
    """Lets in the drivers of all runs that know the host's secret."""

    def covers(self, claims: Claims) -> bool:  # noqa: ARG002  any run's
        return True


class ShardService:
    """What answers on the host's own port: ``app`` is the aiohttp application.

    ``ports`` are those for shards, each for one at a time; a 0 is any free one, for as many as come. ``idle`` returns
    when nobody has spoken, and no shard was there, for so many seconds.
    """

    def __init__(self, kernel: Kernel, machine: Machine, secret: bytes, ports: Sequence[int]) -> None:
        self._kernel = kernel
        self._machine = machine
        self._access = _HostAccess(secret, "", 0, machine.clock)
        self._ports = tuple(ports)
        self._tenants: dict[tuple[str, int], Tenant] = {}
        self._opening = asyncio.Lock()
        self._spoken = machine.clock.monotonic()
        self._sockets: set[web.WebSocketResponse] = set()
        self.app = self._make_app()

    def routes(self) -> list[Route]:
        """Every route and who may use it; a driver here is one that knows the host's secret."""
        return [
            Route("GET", "/healthz", ANYBODY, self._health),
            Route("GET", "/shard", DRIVER, self._serve),
            Route("POST", "/shard/end", DRIVER, self._end),
        ]

    async def idle(self, seconds: float, patience: float) -> None:
        """Wait until nobody has spoken for so many seconds; end shards whose drivers are away for ``patience``."""
        clock = self._machine.clock
        while True:
            await clock.sleep(TICK)
            now = clock.monotonic()
            for tenant in list(self._tenants.values()):
                if tenant.alone(now) > patience:
                    await tenant.end()
            if self._tenants or self._sockets:
                self._spoken = clock.monotonic()
            elif now - self._spoken > seconds:
                return

    async def close(self) -> None:
        """End all shards, with snapshots."""
        ends = [self._kernel.task(one.end(), name="end of a shard") for one in self._tenants.values()]
        for end in ends:
            await end.wait()

    def _make_app(self) -> web.Application:
        routes = self.routes()
        app = web.Application(middlewares=[self._access.guard(routes)], client_max_size=LARGEST)
        for route in routes:
            app.router.add_route(route.method, route.path, route.handler)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def _close_sockets(self, _app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close()

    def _heard(self, request: web.Request) -> Claims:
        self._spoken = self._machine.clock.monotonic()
        return claims_of(request)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        """A driver's connection: open what it wants, and tell how that goes until the connection ends."""
        claims = self._heard(request)
        socket = web.WebSocketResponse(compress=False, max_msg_size=LARGEST, heartbeat=20.0)
        try:
            await socket.prepare(request)
        except ConnectionError:  # it hung up in the middle of its request
            return socket
        self._sockets.add(socket)
        outbox = Outbox()
        pump = self._kernel.task(outbox.pump(socket), name="outbox")
        tenant = None
        try:
            tenant = await self._admit(await _wanted(socket, claims), outbox)
            async for _ in socket:
                break  # it has nothing else to say
        except WireError:
            pass  # whoever breaks the protocol is disconnected
        finally:
            self._sockets.discard(socket)
            if tenant is not None:
                tenant.left(outbox)
            outbox.end()
            await pump.wait()
        return socket

    async def _admit(self, opened: OpenShard, outbox: Outbox) -> Tenant | None:
        """The shard that is wanted, which may be here already; one of an older driver ends before."""
        who = opened.run_id, opened.shard
        async with self._opening:
            tenant = self._tenants.get(who)
            if tenant is not None and tenant.epoch > opened.epoch:
                outbox.put(NEWS.encode(Down("a newer driver has the run")))
                return None
            if tenant is not None and tenant.epoch < opened.epoch:
                await tenant.end()
                tenant = None
            if tenant is None:
                port = self._free(opened.port)
                if port is None:
                    outbox.put(NEWS.encode(Down(FULL)))
                    return None
                tenant = self._tenants[who] = Tenant(self._machine, opened, port)
                self._kernel.task(self._live(who, tenant), name=f"shard {opened.shard} of {opened.run_id}")
            tenant.joined(outbox)
        return tenant

    def _free(self, wanted: int) -> int | None:
        """A port for one more shard: the one that it had before, where that is still to be had."""
        if 0 in self._ports:
            return wanted
        taken = {tenant.port for tenant in self._tenants.values()}
        free = [port for port in self._ports if port not in taken]
        return wanted if wanted in free else next(iter(free), None)

    async def _live(self, who: tuple[str, int], tenant: Tenant) -> None:
        await tenant.run()
        if self._tenants.get(who) is tenant:
            del self._tenants[who]

    async def _end(self, request: web.Request) -> web.Response:
        claims = self._heard(request)
        try:
            wanted = END.decode(await body(request, LARGEST))
        except WireError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        if claims.run != wanted.run_id:
            raise web.HTTPForbidden(text="the token is another run's")
        tenant = self._tenants.get((wanted.run_id, wanted.shard))
        if tenant is not None and tenant.epoch > claims.epoch:
            return web.json_response({"ended": False})
        if tenant is not None:
            await tenant.end()
        return web.json_response({"ended": True})


async def _wanted(socket: web.WebSocketResponse, claims: Claims) -> OpenShard:
    """The driver's first words; ``WireError`` where they do not come in time, or are not of the token's run."""
    try:
        async with asyncio.timeout(FIRST_WORDS):
            message = await socket.receive()
    except TimeoutError:
        raise WireError("nothing was said") from None
    if message.type is not WSMsgType.BINARY:
        raise WireError("the connection is gone")
    opened = OPEN.decode(message.data)
    if (opened.run_id, opened.epoch) != (claims.run, claims.epoch):
        raise WireError("the token is another run's")
    return opened


def ports_of(first: int, count: int) -> tuple[int, ...]:
    """The ports for that many shards beside a host at ``first``: those that follow, or any where that is any."""
    return (0,) if first == 0 else tuple(range(first + 1, first + 1 + min(count, 65535 - first)))
