"""The design that comes to mind first, as a measure: pull, compute, push, each a round trip, with numpy at both ends.

A server keeps weights and AdaGrad's squares and answers over WebSockets on asyncio; a worker has one step under way.

    python -m benchmarks.naive serve            prints the port
    python -m benchmarks.naive work PORT ROWS_FILE MINIBATCH SECONDS            prints steps and seconds
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np
from aiohttp import ClientSession, WSMsgType, web

from benchmarks.kernels import Batch, Lines, Model

LIMIT = 2**24


class Parameters(Model):
    """The message ``keys`` pulls, ``gradient`` pushes to the keys that were pulled last."""

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=LIMIT)
        await socket.prepare(request)
        keys = np.empty(0, np.uint32)
        pulled = False
        async for message in socket:
            if message.type is not WSMsgType.BINARY:
                break
            if pulled:
                self.push(keys, np.frombuffer(message.data, np.float32))
                await socket.send_bytes(b"ok")
            else:
                keys = np.frombuffer(message.data, np.uint32)
                await socket.send_bytes(self.weights[keys].tobytes())
            pulled = not pulled
        return socket


async def serve() -> None:
    app = web.Application()
    app.router.add_get("/", Parameters().serve)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


async def work(port: int, rows: Lines, minibatch: int, seconds: float) -> None:
    begin = time.perf_counter()
    steps = at = 0
    url = f"http://127.0.0.1:{port}/"
    async with ClientSession() as session, session.ws_connect(url, max_msg_size=LIMIT) as socket:
        while time.perf_counter() < begin + seconds:
            at = 0 if at + minibatch > len(rows.labels) else at
            batch = Batch(rows.slice(at, at + minibatch))
            at += minibatch
            await socket.send_bytes(batch.keys.tobytes())
            gradient = batch.gradient(np.frombuffer((await socket.receive()).data, np.float32))
            await socket.send_bytes(gradient.tobytes())
            await socket.receive()
            steps += 1
    print(steps, time.perf_counter() - begin)


async def steps_per_second(rows: Path, minibatch: int, workers: int, seconds: float) -> float:
    """The rate of a server and that many workers, each a process."""
    me = (sys.executable, "-m", "benchmarks.naive")
    server = await asyncio.create_subprocess_exec(*me, "serve", stdin=PIPE, stdout=PIPE)
    assert server.stdout is not None
    port = (await server.stdout.readline()).decode().strip()
    given = (port, str(rows), str(minibatch), str(seconds))
    children = [await asyncio.create_subprocess_exec(*me, "work", *given, stdout=PIPE) for _ in range(workers)]
    told = [(await child.communicate())[0].split() for child in children]
    await server.communicate(b"")
    return sum(int(steps) / float(passed) for steps, passed in told)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(serve())
    else:
        rows = Lines.parse(Path(sys.argv[3]).read_bytes())
        asyncio.run(work(int(sys.argv[2]), rows, int(sys.argv[4]), float(sys.argv[5])))
