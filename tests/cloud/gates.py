"""Ways from one network of this machine into another, through a socket in a folder, each in one direction only."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
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


async def listen_at(port: int, folder: Path) -> asyncio.Server:
    """Take connections at that port of this network (0: a free one), and lead each into the other at its own port."""

    async def came(reader: StreamReader, writer: StreamWriter) -> None:
        found = await asyncio.open_unix_connection(folder)
        found[1].write(f"{writer.get_extra_info('sockname')[1]}\n".encode())
        await _join((reader, writer), found)

    return await asyncio.start_server(came, "127.0.0.1", port)


async def lead_out(folder: Path, port: int = 0) -> asyncio.Server:
    """Take what comes through the socket, and connect it in this network: to the port that it asks for, or ``port``."""

    async def came(reader: StreamReader, writer: StreamWriter) -> None:
        asked = int(await reader.readline())
        await _join((reader, writer), await asyncio.open_connection("127.0.0.1", port or asked))

    return await asyncio.start_unix_server(came, folder)
