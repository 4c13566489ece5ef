"""The sockets of a shard's server: where it listens, and how many connections it bears for how long."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

from aiohttp import web

from cirrus import checks
from cirrus.errors import PipelineError

MAX_CONNECTIONS = 4096
KEEP_ALIVE = 5.0
"""Seconds for a connection's first request to arrive, and for which an idle one is kept; and for TLS to begin."""

LINGER = 2.0
SHUTDOWN = 5.0

Exposure = Literal["loopback", "insecure"]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Beyond loopback either with ``tls`` or with the exposure ``insecure``, which says it all."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    exposure: Exposure = "loopback"

    def __post_init__(self) -> None:
        if self.tls is None and self.exposure != "insecure" and not checks.is_loopback(self.host):
            raise PipelineError("host", self.host, "a loopback address, or TLS, or the exposure 'insecure'")


class Listener:
    """A server that listens; more than ``most`` connections at a time are closed as they come."""

    def __init__(self, app: web.Application, address: Address, most: int = MAX_CONNECTIONS) -> None:
        self._address = address
        self._most = most
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            keepalive_timeout=KEEP_ALIVE,
            lingering_time=LINGER,
            auto_decompress=False,
            shutdown_timeout=SHUTDOWN,
        )
        self._server: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """How many connections there are."""
        server = self._runner.server
        return 0 if server is None else len(server.connections)

    async def start(self) -> int:
        """Listen, and return the port."""
        await self._runner.setup()
        make = self._runner.server
        assert make is not None
        address = self._address
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._gated(make), address.host, address.port, ssl=address.tls, backlog=1024,
            ssl_handshake_timeout=None if address.tls is None else KEEP_ALIVE,
        )  # fmt: skip
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more and end all connections."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    def _gated(self, make: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        return lambda: make() if self.connections < self._most else _Full()


class _Full(asyncio.Protocol):
    """What a connection gets for which there is no room."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.Transport", transport).abort()  # uvloop's is one without deriving from it


def watch_peer(connection: socket.socket | None) -> None:
    """Let the system find out within a minute that a silent peer is gone, which costs nothing at each message."""
    if connection is None:
        return
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
