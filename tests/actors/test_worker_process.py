"""The process of a worker: told to leave, or left alone, it goes, whatever it is waiting for."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cirrus.cloud.assignments import assignment_to_json
from cirrus.cloud.base import Assignment
from cirrus.core.ids import WorkerId
from tests.actors.shards import token

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])

WITHIN = 20.0
"""Seconds: less than a worker's patience with a control actor that is away."""

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def say_nothing(_writer: asyncio.StreamWriter) -> None:
    pass


@asynccontextmanager
async def calling(folder: Path, answer: Answer) -> AsyncIterator[Process]:
    """A worker that has called where the control actor should be, which answers like that."""
    called = asyncio.Semaphore(0)
    writers: list[asyncio.StreamWriter] = []

    async def call(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        called.release()
        await answer(writer)

    server = await asyncio.start_server(call, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    worker = WorkerId("train", 0, 1)
    given = Assignment("clicks", 2, worker, "train", (url,), folder.as_uri(), token("worker"), 600, 900.0)
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "cirrus.actors.worker_process", stdin=PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(assignment_to_json(given).encode() + b"\n")
        await called.acquire()
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
        for writer in writers:
            writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("way", ["the order to end", "the end of its parent"])
async def test_a_worker_that_cannot_reach_the_control_actor_leaves_when_it_is_told(tmp_path: Path, way: str) -> None:
    async with calling(tmp_path, hang_up) as process:
        if way == "the order to end":
            process.send_signal(signal.SIGTERM)
        else:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(WITHIN):
            assert await process.wait() == 0


async def test_an_orphan_that_cannot_leave_is_ended_by_the_system(tmp_path: Path) -> None:
    async with calling(tmp_path, say_nothing) as process:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(WITHIN):
            assert await process.wait() == -signal.SIGALRM
