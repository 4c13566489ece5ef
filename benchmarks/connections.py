"""Round trips on one shard with many connections: most of them idle, fifty at half of what the shard can do.

    python -m benchmarks.connections

A shard process with an AdaGrad table of 2^20 rows, steps of 700 keys that push and pull. The clients are sockets of
this process that send frames made before, so that the shard is what is measured. First all active ones send as fast as
they are answered; then each at even intervals, together at half the rate that was seen then. A round trip is the time
from sending to the answer, and what is sent late, since the answer before it was late, counts from when it was due.
"""

from __future__ import annotations

import asyncio
import gc
from itertools import count, islice
from statistics import median
from time import perf_counter
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import numpy as np
import uvloop

from benchmarks.setting import setting, write
from benchmarks.step import SPEC, batches, bearer, shard_process
from cirrus.wire import frames
from cirrus.wire.frames import Opened, Status, Step

IDLE = 500
ACTIVE = 50
KEYS = 700
STEPS = 200
"""Of a unit; then the connection opens the next one."""

SECONDS = 3.0
ROUNDS = 5
UNITS = count(1)


def message(*parts: bytes) -> bytes:
    """A whole binary message of a client, masked by zeros: as it is."""
    payload = b"".join(parts)
    assert 126 <= len(payload) < 65536
    return bytes((0x82, 0x80 | 126)) + len(payload).to_bytes(2, "big") + bytes(4) + payload


class Script(NamedTuple):
    """What every connection says after it has opened a unit: the first pull's frame, and each step's message."""

    pull: bytes
    steps: list[bytes]

    @classmethod
    def made(cls) -> Script:
        """Frames name no unit, so that all connections say the same in all their units."""
        gradient = (np.full((KEYS, 1), 1e-4, np.float32),)
        first, *others = ((keys,) for keys in batches(KEYS, SPEC.rows, STEPS + 1))
        steps = [message(frames.encode_step(Step(n, (0,), gradient, keys))) for n, keys in enumerate(others)]
        return cls(frames.encode_step(Step(0, (0,), None, first)), steps)


class Line(asyncio.Protocol):
    """A worker's WebSocket to the shard. ``trips``: seconds of each round trip since ``run``."""

    def __init__(self, host: str, script: Script) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.trips: list[float] = []
        self._loop = loop
        self._host = host
        self._script = script
        self._heard = b""
        self._step = -1  # -1: the unit is being opened
        self._sent = self._due = self._end = self._interval = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(
            f"GET /steps HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {bearer('worker')}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: YmVuY2htYXJrcyBvZiAxNg==\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self._heard = data if not self._heard else self._heard + data
        if not self.ready.done():
            head, _, rest = self._heard.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101"), head
            assert not rest
            self.ready.set_result(None)
            self._heard = b""
            return
        assert self._heard[:2] == b"\x82\x7e", self._heard[:2]  # a message of 126 bytes to 64 KB
        size = int.from_bytes(self._heard[2:4], "big") + 4
        assert len(self._heard) <= size, "one answer at a time"
        if len(self._heard) == size:
            answer, self._heard = self._heard[4:], b""
            self._answered(answer)

    def run(self, begin: float, end: float, interval: float) -> None:
        """Do steps from then on, each ``interval`` seconds after the last or, if that is 0, after its answer."""
        self.trips, self.done = [], self._loop.create_future()
        self._due, self._end, self._interval = begin, end, interval
        self._loop.call_at(self._loop.time() + begin - perf_counter(), self._open)

    def _open(self) -> None:
        self._step = -1
        self.transport.write(message(frames.encode_open(next(UNITS), 0), self._script.pull))

    def _send(self, sent: float = 0.0) -> None:
        self._sent = sent or perf_counter()
        self.transport.write(self._script.steps[self._step])

    def _answered(self, answer: bytes) -> None:
        now = perf_counter()
        if self._step < 0:
            opened, _ = frames.replies(answer)
            assert isinstance(opened, Opened)
            assert opened.status is Status.APPLIED
        else:
            self.trips.append(now - self._sent)
        self._step += 1
        if now > self._end:
            (last,) = islice(frames.replies(answer), 1)
            assert last.status is Status.APPLIED
            self.done.set_result(None)
        elif self._step == STEPS:
            self._open()
        else:
            self._next(now)

    def _next(self, now: float) -> None:
        self._due += self._interval
        if not self._interval:
            self._send()
        elif self._due <= now:
            self._send(self._due)
        else:
            self._loop.call_at(self._loop.time() + self._due - now, self._send)


async def connected(url: str, script: Script, lines: int) -> list[Line]:
    where, found = urlsplit(url), []
    assert where.hostname
    assert where.port
    for _ in range(lines):
        _, line = await asyncio.get_running_loop().create_connection(
            lambda: Line(where.netloc, script), where.hostname, where.port
        )
        await line.ready
        found.append(line)
    return found


async def period(lines: list[Line], interval: float) -> tuple[float, list[float]]:
    """Steps a second of all, and the round trips in milliseconds."""
    begin = perf_counter()
    for number, line in enumerate(lines):
        line.run(begin + interval * number / len(lines), begin + SECONDS, interval)
    for line in lines:
        await line.done
    trips = [1e3 * trip for line in lines for trip in line.trips]
    return len(trips) / (perf_counter() - begin), trips


async def main() -> None:
    before, rounds = setting(), []
    async with shard_process() as (url, shard):
        script = Script.made()
        idle = await connected(url, script, IDLE)
        lines = await connected(url, script, ACTIVE)
        gc.freeze()
        await period(lines, 0.0)  # to warm up
        for _ in range(ROUNDS):
            spent = shard.cpu_times()
            most, _ = await period(lines, 0.0)
            after = shard.cpu_times()
            busy = (after.user + after.system - spent.user - spent.system) / SECONDS
            rate, trips = await period(lines, 2 * ACTIVE / most)
            half, nearly_all, longest = np.percentile(trips, (50, 99, 100)).round(2).tolist()
            rounds.append({
                "most_per_second": round(most), "shard_busy": round(busy, 2), "per_second": round(rate),
                "p50_ms": half, "p99_ms": nearly_all, "longest_ms": longest,
            })  # fmt: skip
            print(rounds[-1], flush=True)
        for line in (*idle, *lines):
            line.transport.abort()
    middle = {name: median(one[name] for one in rounds) for name in rounds[0]}
    write("connections", before, {"idle": IDLE, "active": ACTIVE, "keys": KEYS, **middle, "rounds": rounds})


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
