"""Where one shard of a run lives, and how it is kept alive there: a host elsewhere, which the driver dials."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from aiohttp import (
    ClientError,
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    ClientWSTimeout,
    WSMessage,
    WSMsgType,
    WSServerHandshakeError,
)

from cirrus.actors.hosting import END, NEWS, OPEN, Down, EndShard, OpenShard, bearer
from cirrus.actors.seats import Answering
from cirrus.actors.tenant import GRACE
from cirrus.actors.trust import certain
from cirrus.clock import Clock
from cirrus.cloud.hosts import Host, base_url
from cirrus.core.restarts import Backoff
from cirrus.errors import Closed, InvokeError, Refused
from cirrus.wire.codec import LARGEST
from cirrus.wire.tls import client_side

BACKOFF = Backoff(0.1, 2.0, 2.0)
AT_FIRST, LATER = 10.0, 60.0
"""Seconds for which a host may be away, when the shard is opened and from then on."""

ATTEMPT = 10.0
ENDING = ClientTimeout(total=GRACE + 10.0)
CLOSING = ClientWSTimeout(ws_close=1.0)


class HostedSeat:
    """A shard on ``host``, as ``opened`` describes it, over connections of ``session``."""

    def __init__(self, clock: Clock, session: ClientSession, host: Host, opened: OpenShard) -> None:
        self._clock = clock
        self._session = session
        self._host = host
        self._opened = opened
        self._tls = client_side(host.ca)
        self._socket: ClientWebSocketResponse | None = None
        self._first: Answering | None = None
        self._pid = 0

    async def start(self) -> Answering:
        self._first = await self._hear(AT_FIRST)
        return self._began(self._first)

    async def again(self) -> Answering:
        try:
            while (now := await self._hear(LATER)).pid == self._pid:
                pass  # the connection was made again, and the shard has not noticed
        except asyncio.CancelledError:
            await self._hang_up()  # so that the host does not start it again when it ends
            raise
        if self._first is None or now.url != self._first.url:
            raise InvokeError(f"a shard came back at {now.url}, where no worker looks for it")
        return self._began(replace(now, reason=now.reason or "its host has lost it"))

    async def leave(self) -> None:
        """Have the shard end, with a snapshot, unless it has ended; return when it has, or cannot be reached."""
        given = EndShard(self._opened.run_id, self._opened.shard)
        try:
            async with self._session.post(
                f"{self._host.url}/shard/end", data=END.encode(given), headers=self._headers, timeout=ENDING,
                ssl=self._tls, server_hostname=self._host.name,
            ) as answer:  # fmt: skip
                await answer.read()
        except (ClientError, OSError):
            pass  # it ends by itself, since its driver is gone
        await self._hang_up()

    def _began(self, now: Answering) -> Answering:
        """Remember the process, and that another would have to begin where this one has saved."""
        self._pid = now.pid
        self._opened = replace(self._opened, restore=True, port=int(now.url.rpartition(":")[2]))
        return now

    async def _hear(self, patience: float) -> Answering:
        """What the host says next, on a new connection where the old one has ended."""
        failures, since = 0, 0.0
        while True:
            try:
                with certain(self._host.url):
                    if self._socket is None:
                        self._socket = await self._dial()
                    return self._understood(await self._socket.receive())
            except (ClientError, OSError, Closed) as error:
                await self._hang_up()
                failures, since = failures + 1, since or self._clock.monotonic()
                if self._clock.monotonic() - since > patience:
                    why = getattr(error, "os_error", error)  # in fewer words, where it has them
                    raise InvokeError(f"the host of shards at {self._host.url} cannot be reached: {why}") from error
            await self._clock.sleep(BACKOFF.delay(failures, 0.0))

    async def _dial(self) -> ClientWebSocketResponse:
        try:
            async with asyncio.timeout(ATTEMPT):
                socket = await self._session.ws_connect(
                    f"{self._host.url}/shard", headers=self._headers, ssl=self._tls, compress=0, heartbeat=20.0,
                    server_hostname=self._host.name, max_msg_size=LARGEST, timeout=CLOSING,
                )  # fmt: skip
        except WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise Refused(f"the host of shards at {self._host.url} does not accept the secret") from error
            raise
        await socket.send_bytes(OPEN.encode(self._opened))
        return socket

    def _understood(self, message: WSMessage) -> Answering:
        if message.type is not WSMsgType.BINARY:
            raise Closed("the host has closed the connection")
        news = NEWS.decode(message.data)
        if isinstance(news, Down):
            raise InvokeError(f"shard {self._opened.shard} on the host at {self._host.url}: {news.problem}")
        return Answering(base_url(self._host.address, news.port), news.pid, news.skipped, news.reason)

    @property
    def _headers(self) -> dict[str, str]:
        return bearer(self._host.secret, self._clock, self._opened.run_id, self._opened.epoch)

    async def _hang_up(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()
