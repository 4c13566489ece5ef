"""A small program that does what it is told in one line of input, and a server that it can talk to."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cirrus.cloud.base import Assignment
from cirrus.core.ids import WorkerId

PROGRAM = """
import json, os, signal, socket, subprocess, sys, time
told = json.loads(sys.stdin.readline())
def call(text):
    host, port = told["shards"][0].split(":")
    connection = socket.create_connection((host, int(port)))
    connection.sendall((text + "\\\\n").encode())
    return connection
deeds = {"finish": "", "crash": "raise RuntimeError('told to crash')", "linger": "sys.stdin.read()"}
deeds["hold"] = "call('up').recv(1)"
exec(deeds.get(told["run_id"], told["run_id"]))
""".replace("\\\\", "\\")

COMMAND = (sys.executable, "-I", "-S", "-c", PROGRAM)


def python(source: str) -> tuple[str, ...]:
    """The command that runs a few lines of Python."""
    return (sys.executable, "-I", "-S", "-c", f"import os, signal, sys, time\n{source}")


class Line:
    """Where children call: each caller's connection, in order."""

    def __init__(self) -> None:
        self.address = ""
        self._callers: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        self._callers.put_nowait(reader)

    async def next(self) -> tuple[str, asyncio.StreamReader]:
        """What the next caller says first, and the connection that it stays on."""
        reader = await self._callers.get()
        return (await reader.readline()).decode().strip(), reader


@asynccontextmanager
async def line() -> AsyncIterator[Line]:
    open_line = Line()
    server = await asyncio.start_server(open_line.answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    open_line.address = f"{host}:{port}"
    try:
        yield open_line
    finally:
        for writer in open_line.writers:
            writer.close()
        server.close()
        await server.wait_closed()


def assignment(
    source: str, *, slot: int = 0, memory: int = 256, timeout: float = 600.0, shard: str = "", token: str = "a-token"
) -> Assignment:
    return Assignment(source, 1, WorkerId("train", slot, 1), "train", (shard,), "memory:", token, memory, timeout)
