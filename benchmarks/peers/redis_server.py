"""A Redis of one's own, in memory alone, for as long as it is needed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

HOW = "redis-server is not there: apt-get install redis-server (and stop the service that it begins)"


@dataclass(frozen=True)
class Server:
    port: int
    pid: int

    def processor_time(self) -> float:
        """Seconds so far."""
        return sum(psutil.Process(self.pid).cpu_times()[:2])


@contextmanager
def redis_server() -> Iterator[Server]:
    """Answers on a free port of 127.0.0.1."""
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit(HOW)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    with subprocess.Popen([program, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "Ready to accept connections" in line)
        try:
            yield Server(port, process.pid)
        finally:
            process.terminate()
