"""Messages are answered where they arrive, or by the task where they cannot: the same answers in the same order."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from cirrus.actors.step_socket import BUFFERED, StepSocket
from cirrus.errors import WireError
from tests.actors.shards import cluster
from tests.actors.test_steps import counted, work

AIOHTTP = 2**18
"""Bytes that aiohttp sends before it looks whether the peer has read any."""


class Ear:
    """A server whose sockets answer with what they got; ``b"break"`` is refused."""

    def __init__(self) -> None:
        self.url = ""
        self.sockets: list[StepSocket] = []
        self.ends: list[Exception | None] = []

    def handle(self, message: bytes) -> bytes:
        if message.startswith(b"break"):
            raise WireError("broken") if message == b"break" else KeyError("a bug")
        return message

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = StepSocket(self.handle)
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            await socket.serve(request.transport)
        except (WireError, KeyError, TimeoutError) as error:
            self.ends.append(error)
            await socket.close(drain=False)
        else:
            self.ends.append(None)
        return socket


@pytest.fixture(params=["on arrival", "by the task"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "by the task":
        monkeypatch.setattr(StepSocket, "_fits", lambda *_: False)
    found: str = request.param
    return found


@asynccontextmanager
async def ear() -> AsyncIterator[Ear]:
    found = Ear()
    app = web.Application()
    app.router.add_get("/", found.serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield found
    finally:
        await runner.cleanup()


async def test_the_installed_aiohttp_lets_messages_be_answered_on_arrival() -> None:
    async with ear() as one, aiohttp.ClientSession() as session, session.ws_connect(one.url) as socket:
        await socket.send_bytes(b"x")
        assert (await socket.receive()).data == b"x"
        assert one.sockets[0].on_arrival


@pytest.mark.parametrize("size", [0, 1, 125, 126, 16 * 1024, 16 * 1024 + 1, 65535, 65536, 300_000])
async def test_messages_of_any_size_come_back_in_order(way: str, size: int) -> None:
    async with ear() as one, aiohttp.ClientSession() as session, session.ws_connect(one.url) as socket:
        for number in range(5):
            await socket.send_bytes(bytes([number]) * size)
            await socket.ping()
        for number in range(5):
            message = await socket.receive()
            assert (message.type, message.data) == (WSMsgType.BINARY, bytes([number]) * size)
        assert one.sockets[0].on_arrival is (way == "on arrival")
    assert one.ends == [None]


async def test_a_peer_that_does_not_read_is_kept_waiting_and_gets_everything(way: str) -> None:
    count, size = 300, 100_000
    async with ear() as one, aiohttp.ClientSession() as session, session.ws_connect(one.url) as socket:

        async def send() -> None:
            for number in range(count):
                await socket.send_bytes(number.to_bytes(4, "little") * (size // 4))

        assert socket._reader is not None
        sending = asyncio.ensure_future(send())
        while not one.sockets:
            await asyncio.sleep(0)
        transport = one.sockets[0]._req.transport  # type: ignore[union-attr]
        most = 0
        for number in range(count):
            assert transport is not None
            most = max(most, transport.get_write_buffer_size())
            assert (await socket.receive()).data == number.to_bytes(4, "little") * (size // 4)
        await sending
        assert most <= BUFFERED + AIOHTTP + 2 * size
    assert one.ends == [None]


@pytest.mark.parametrize(("message", "kind"), [(b"break", WireError), (b"break down", KeyError)])
async def test_what_the_handler_raises_ends_the_connection_and_nothing_is_answered_after(
    way: str, message: bytes, kind: type[Exception]
) -> None:
    async with ear() as one, aiohttp.ClientSession() as session, session.ws_connect(one.url) as socket:
        for data in (b"before", message, b"after"):
            await socket.send_bytes(data)
        assert (await socket.receive()).data == b"before"
        assert (await socket.receive()).type is WSMsgType.CLOSE
    assert [type(end) for end in one.ends] == [kind]


async def test_text_is_refused(way: str) -> None:
    async with ear() as one, aiohttp.ClientSession() as session, session.ws_connect(one.url) as socket:
        await socket.send_str("hello")
        assert (await socket.receive()).type is WSMsgType.CLOSE
    assert [type(end) for end in one.ends] == [WireError]


async def test_a_message_that_comes_with_the_request_is_answered_too(way: str) -> None:
    async with ear() as one:
        port = int(one.url.rsplit(":", 1)[1].strip("/"))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(bytes(16)).decode()
        head = f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        writer.write(f"{head}Sec-WebSocket-Version: 13\r\n\r\n".encode() + b"\x82\x83\0\0\0\0one\x82\x83\0\0")
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"\x82\x03one"
        writer.write(b"\0\0two")
        assert await reader.readexactly(5) == b"\x82\x03two"
        writer.close()
        await writer.wait_closed()


async def test_every_step_counts_once(way: str) -> None:
    async with cluster(2) as shards:
        client = await shards.client()
        await work(client, 0)
        await client.close()
        assert (shards.weights() == counted(0)).all()
