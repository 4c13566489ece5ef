"""A proxy between a client and a server, each of which takes it for the other, and that does what a plan says.

    async with Kernel(SystemClock()) as kernel, proxied(kernel) as proxy:
        proxy.target = shard.url
        proxy.plan = on("/steps", [Reset(way="down", at=900)])
        ...                     # whoever connects to proxy.url meets the faults
        proxy.hold("up")        # a partition: what clients say arrives nowhere
        proxy.go_on("up")       # it heals, and what was said meanwhile arrives

Its tasks belong to the kernel, so they end with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from cirrus.actors.kernel import Kernel
from cirrus.errors import Closed
from cirrus.testing.faults import End, Pass, Plan, Stream, Wait, Way, sound

CHUNK = 65_536
METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ")
_GONE = (OSError, EOFError, RuntimeError, asyncio.LimitOverrunError)  # uvloop tells of closed handles by RuntimeError
_AT_ONCE = struct.pack("ii", 1, 0)  # linger for no time: closing resets


class Proxy:
    """Listens on a free loopback port and passes on to ``target``, a base URL, whatever its plan lets through.

    ``plan`` and ``target`` may be changed at any time; what they say holds for the next requests and connections.
    ``connections`` counts all that came. Where ``record`` is a list it gets what each client says, as one ``bytearray``
    for each.
    """

    def __init__(self, kernel: Kernel, plan: Plan = sound) -> None:
        self.plan = plan
        self.target = ""
        self.connections = 0
        self.record: list[bytearray] | None = None
        self._kernel = kernel
        self._server: asyncio.Server | None = None
        self._port = 0
        self._flowing = {"up": asyncio.Event(), "down": asyncio.Event()}
        self._ends: set[StreamWriter] = set()
        self._refusing = False
        self.go_on("up", "down")

    @property
    def url(self) -> str:
        """Where it listens, as a base URL."""
        return f"http://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        """Take connections from now on."""
        self._server = await asyncio.start_server(self._came, "127.0.0.1", 0)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Take no more connections, and break those that there are."""
        if self._server is not None:
            self._server.close()
        self.reset()

    def hold(self, *ways: Way) -> None:
        """Let nothing through in these directions until ``go_on``; connections stay, and new ones seem to be made."""
        for way in ways:
            self._flowing[way].clear()

    def go_on(self, *ways: Way) -> None:
        """Let through again, also what was held."""
        for way in ways:
            self._flowing[way].set()

    def refuse(self) -> None:
        """Break every connection, and each that comes, until ``accept``."""
        self._refusing = True
        self.reset()

    def accept(self) -> None:
        """Take connections again."""
        self._refusing = False

    def reset(self) -> None:
        """Have both sides of every connection see it reset."""
        for end in tuple(self._ends):
            _break(end)

    def _came(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.connections += 1
        self._ends.add(writer)
        if self._refusing:
            _break(writer)
            self._ends.discard(writer)
            return
        try:
            self._kernel.task(self._serve(reader, writer), name="proxied")
        except Closed:  # the kernel is ending
            _break(writer)

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One connection from its first line to its end."""
        ends = [writer]
        try:
            first = await reader.readuntil(b"\r\n")
            await self._flowing["up"].wait()
            where = urlsplit(self.target)
            back, server = await asyncio.open_connection(where.hostname, where.port)
            ends.append(server)
            self._ends.add(server)
            streams = (Stream("up"), Stream("down"))
            up = _Pump(self, streams, "up", ends, reader)
            down = _Pump(self, streams, "down", ends, back)
            sending = self._kernel.task(up.run(first), name="proxied.up")
            answering = self._kernel.task(down.run(), name="proxied.down")
            try:
                await sending.wait()
                await answering.wait()
            finally:
                await sending.cancel()
                await answering.cancel()
        except _GONE:
            pass  # one of the two has gone, as clients and servers do
        finally:
            for end in ends:
                self._ends.discard(end)
                end.close()
                with contextlib.suppress(*_GONE):
                    await end.wait_closed()

    async def passing(self, way: Way) -> None:
        """Wait until that direction is open."""
        await self._flowing[way].wait()

    async def pause(self, seconds: float) -> None:
        """Wait on the kernel's clock."""
        await self._kernel.clock.sleep(seconds)

    def noted(self) -> bytearray | None:
        """Where to note what the next client says."""
        if self.record is None:
            return None
        note = bytearray()
        self.record.append(note)
        return note


class _Pump:
    """Passes one direction of a connection on; ``ends`` are the client's side and the server's, in this order."""

    def __init__(
        self, proxy: Proxy, streams: tuple[Stream, Stream], way: Way, ends: list[StreamWriter], source: StreamReader
    ) -> None:
        self._proxy = proxy
        self._streams = streams
        self._stream = streams[0 if way == "up" else 1]
        self._way = way
        self._ends = ends
        self._source = source
        self._sink = ends[1 if way == "up" else 0]
        self._requests = way == "up"  # whether requests may still come, one behind another
        self._note = proxy.noted() if way == "up" else None

    async def run(self, first: bytes = b"") -> None:
        """Pass on until the source or a fault ends it."""
        with contextlib.suppress(*_GONE):
            data = first or await self._source.read(CHUNK)
            while data:
                await self._proxy.passing(self._way)
                if not await self._pass_on(data):
                    return
                data = await self._source.read(CHUNK)
            await self._proxy.passing(self._way)  # a partition hides the end as well
            self._sink.write_eof()

    async def _pass_on(self, data: bytes) -> bool:
        """Do with the data what the faults say; whether the connection goes on."""
        self._look(data)
        for deed in self._stream.feed(data):
            match deed:
                case Pass(piece):
                    self._sink.write(piece)
                    await self._sink.drain()
                case Wait(seconds):
                    await self._proxy.pause(seconds)
                case End(reset):
                    for end in self._ends:
                        if reset:
                            _break(end)
                        else:
                            end.close()
                    return False
        return True

    def _look(self, data: bytes) -> None:
        """Note what a client says, and see where it asks for something else."""
        if self._note is not None:
            self._note += data
        if self._requests and data.startswith(METHODS):
            faults = self._proxy.plan(_path(data))
            for stream in self._streams:
                stream.begin(faults)
        if b"websocket" in data[:4096].lower():
            self._requests = False


def _path(first: bytes) -> str:
    """The path that a request asks for in its first line."""
    words = first.partition(b"\r\n")[0].split(b" ")
    return words[1].partition(b"?")[0].decode("latin-1") if len(words) > 1 else ""


def _break(writer: StreamWriter) -> None:
    """Close so that the other side sees a reset."""
    held = writer.get_extra_info("socket")
    with contextlib.suppress(*_GONE):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


@asynccontextmanager
async def proxied(kernel: Kernel, plan: Plan = sound) -> AsyncIterator[Proxy]:
    """A proxy that listens inside the block."""
    proxy = Proxy(kernel, plan)
    await proxy.listen()
    try:
        yield proxy
    finally:
        proxy.close()
