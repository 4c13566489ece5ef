"""A host that serves shards, as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket

import psutil

from cirrus.cloud.served import ServedShards

HOST = "cirrus.actors.host"


@dataclass
class Served:
    """The process, its URL, and the files that drivers need."""

    process: Process
    url: str
    secret: str
    ca: Path

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def shards(self) -> list[psutil.Process]:
        """The processes of the shards that are there now."""
        children = psutil.Process(self.process.pid).children()
        return [one for one in children if one.is_running() and HOST in one.cmdline()]


def ports(count: int) -> int:
    """The first of that many ports in a row that are free now."""
    for first in range(20_000 + os.getpid() % 10_000, 60_000, count):
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + count):
                stack.enter_context(socket()).bind(("127.0.0.1", port))
            return first
    raise AssertionError("no ports are free")


@asynccontextmanager
async def served(folder: Path, *options: str, port: int = 0) -> AsyncIterator[Served]:
    """A host at that port of this machine, any free one if it is 0, while the block runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cirrus", "shard", "serve", "--folder", str(folder), "--port", str(port), "--json",
        *options, stdout=PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        said = json.loads(await process.stdout.readline())
        yield Served(process, said["url"], Path(said["secret"]).read_text(), Path(said["ca"]))
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def both(one: Served, two: Served, folder: Path) -> ServedShards:
    """The two of them, which were given the same secret, with their authorities in one file."""
    ca = folder / "authorities.pem"
    ca.write_text(one.ca.read_text() + two.ca.read_text())
    return ServedShards((one.url, two.url), one.secret, ca)


def secret_in(*folders: Path) -> None:
    """Give hosts that are to begin in those folders the same secret."""
    for folder in folders:
        folder.mkdir(mode=0o700)
        (folder / "secret").write_text("a-secret-that-the-tests-share")


def variables(host: Served) -> dict[str, str]:
    """What drivers of that host have in their environment."""
    return {"CIRRUS_SHARD_SECRET": host.secret, "CIRRUS_SHARD_CA": str(host.ca)}
