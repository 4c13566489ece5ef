"""Ways from one network of this machine into another, through a socket in a folder, each in one direction only."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from pathlib import Path

CHUNK = 65_536


async def _pump(source: StreamReader, sink: StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def _join(near: tuple[StreamReader, StreamWriter], far: tuple[StreamReader, StreamWriter]) -> None:
    try:
        await asyncio.gather(_pump(near[0], far[1]), _pump(far[0], near[1]))
    finally:
        for _, writer in (near, far):
            writer.close()


class Gate:
    """A server of such ways; ``ports``: where it listens in this network."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._ways: set[asyncio.Task[None]] = set()

    @property
    def ports(self) -> list[int]:
        assert self._server is not None
        return [one.getsockname()[1] for one in self._server.sockets]

    def serve(self, server: asyncio.Server) -> Gate:
        self._server = server
        return self

    @contextlib.contextmanager
    def way(self) -> Iterator[None]:
        """The task at hand is one of the ways."""
        task = asyncio.current_task()
        assert task is not None
        self._ways.add(task)
        try:
            yield
        finally:
            self._ways.discard(task)

    async def close(self) -> None:
        """Take no more, and end what is under way."""
        assert self._server is not None
        self._server.close()
        for way in self._ways:
            way.cancel()
        await asyncio.gather(*self._ways, return_exceptions=True)


async def listen_at(port: int, folder: Path) -> Gate:
    """Take connections at that port of this network (0: a free one), and lead each into the other at its own port."""
    gate = Gate()

    async def came(reader: StreamReader, writer: StreamWriter) -> None:
        with gate.way():
            found = await asyncio.open_unix_connection(folder)
            found[1].write(f"{writer.get_extra_info('sockname')[1]}\n".encode())
            await _join((reader, writer), found)

    return gate.serve(await asyncio.start_server(came, "127.0.0.1", port))


async def lead_out(folder: Path, port: int = 0) -> Gate:
    """Take what comes through the socket, and connect it in this network: to the port that it asks for, or ``port``."""
    gate = Gate()

    async def came(reader: StreamReader, writer: StreamWriter) -> None:
        with gate.way():
            asked = int(await reader.readline())
            await _join((reader, writer), await asyncio.open_connection("127.0.0.1", port or asked))

    return gate.serve(await asyncio.start_unix_server(came, folder))
