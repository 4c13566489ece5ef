"""The process of one shard: ``python -m cirrus.actors.shard_process``.

It reads one line of JSON from its standard input (see ``Config``; the key never stands in arguments or environment),
prints one line ``{"port": ..., "pid": ..., "skipped": [[key, problem], ...]}``, the last of which are snapshots that it
could not read, and serves until it is told to stop by ``POST /stop`` or SIGTERM. When its
standard input ends the driver is gone: it says farewell to the workers, saves a snapshot and ends.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, fields
from typing import Any, get_args

import uvloop

from cirrus import checks
from cirrus.actors.access import Access
from cirrus.actors.listening import Address, Exposure, Listener
from cirrus.actors.server import Part, Server, Stop
from cirrus.actors.shard import Shard
from cirrus.actors.snapshots import Shelf, begin, resume
from cirrus.clock import SystemClock
from cirrus.errors import CirrusError, PipelineError, WireError
from cirrus.store.manners import Manners
from cirrus.store.opening import open_store
from cirrus.wire.tls import Identity, server_side

MAX_LINE = 64 * 1024
SHORTEST_KEY = 16
GARBAGE = 50_000
"""Objects that are made before it is looked for cycles among the young ones."""


@dataclass(frozen=True, slots=True)
class Config:
    """What a shard's process is told: the run and its key (hexadecimal), which shard of how many, where to listen.

    ``store`` is the object store's URL and ``prefix`` where the shard's snapshots are kept in it. ``restore``: begin
    with the newest of them, if there is one; otherwise the shard begins empty. With ``certificate`` and
    ``private_key``, both PEM, it speaks TLS only.
    """

    run_id: str
    epoch: int
    key: str = field(repr=False)
    shard: int
    shards: int
    store: str
    prefix: str
    restore: bool = False
    host: str = "127.0.0.1"
    port: int = 0
    exposure: Exposure = "loopback"
    certificate: str = ""
    private_key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        checks.name("run_id", self.run_id)
        checks.integer("epoch", self.epoch, 0, 2**31)
        checks.integer("shards", self.shards, 1, 4096)
        checks.integer("shard", self.shard, 0, self.shards - 1)
        checks.integer("port", self.port, 0, 65535)
        checks.text("prefix", self.prefix)
        checks.one_of("restore", self.restore, (True, False))
        checks.one_of("exposure", self.exposure, get_args(Exposure))
        checks.one_of("private_key", bool(self.private_key), (bool(self.certificate),))
        if len(bytes.fromhex(self.key)) < SHORTEST_KEY:
            raise PipelineError("key", "a short one", f"{SHORTEST_KEY} bytes or more")

    @classmethod
    def parsed(cls, line: bytes) -> Config:
        """The configuration of that line of JSON; ``WireError``, which does not repeat the line, where it is none."""
        try:
            given: dict[str, Any] = json.loads(line)
            return cls(**given)
        except (ValueError, TypeError, CirrusError):
            raise WireError(f"expected one JSON object of {', '.join(one.name for one in fields(cls))}") from None


OpenParts = Callable[[Config, Callable[[Stop], None]], AbstractAsyncContextManager[Sequence[Part]]]
"""Makes what else lives on the server, with a way to ask for its end; it ends after the server does."""


@asynccontextmanager
async def no_parts(_config: Config, _stop: Callable[[Stop], None]) -> AsyncIterator[Sequence[Part]]:
    """Nothing lives on the server but the shard."""
    yield ()


async def serve(config: Config, say: Callable[[str], None], open_parts: OpenParts = no_parts) -> None:
    """Serve a shard until it is told to stop; ``say`` gets the line that says that it answers."""
    clock = SystemClock()
    manners = Manners()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=manners.begin))
    store = open_store(config.store, manners.begin)
    shard = Shard(config.shard, config.shards)
    shelf = Shelf(store, config.prefix.rstrip("/"), config.epoch)
    wish: asyncio.Future[Stop] = asyncio.get_running_loop().create_future()
    snapshots = await (resume(shard, shelf) if config.restore else begin(shelf))
    manners.give_way()  # from now on there are steps

    def stop(reason: Stop) -> None:
        if not wish.done():
            wish.set_result(reason)

    access = Access(bytes.fromhex(config.key), config.run_id, config.epoch, clock)
    try:
        async with open_parts(config, stop) as parts:
            server = Server(shard, access, snapshots, parts, stop)
            listener = Listener(server.app, _address(config))
            server.connections = lambda: listener.connections
            port = await listener.start()
            try:
                _watch(stop)
                skipped = [[one.key, one.problem] for one in snapshots.skipped]
                say(json.dumps({"port": port, "pid": os.getpid(), "skipped": skipped}))
                await server.farewell(await wish)
            finally:
                await listener.stop()
    finally:
        await store.close()


def _address(config: Config) -> Address:
    tls = server_side(Identity(config.certificate, config.private_key)) if config.certificate else None
    return Address(config.host, config.port, tls, config.exposure)


def _watch(stop: Callable[[Stop], None]) -> None:
    """Stop on SIGTERM, and when standard input ends."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop, Stop("the process was told to end", save=True))
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's Ctrl-C is for the driver, which then tells us

    def heard() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stop(Stop("the driver is gone", save=True))

    loop.add_reader(0, heard)


def read_line() -> bytes:
    """The first line of standard input, byte by byte so that what follows stays where the loop can see it."""
    line = bytearray()
    while len(line) < MAX_LINE and (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return bytes(line)


def main(open_parts: OpenParts = no_parts) -> None:
    """Be a shard."""
    config = Config.parsed(read_line())
    # What was imported stays, and steps make no cycles: looking for garbage among both would be a tenth of the work.
    gc.freeze()
    gc.set_threshold(GARBAGE)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(config, _say, open_parts))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
