"""An emulator in a process of its own: it reads its options as one line of JSON, says where it listens, and serves.

It ends with its standard input, and everything that it started with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import uvloop

from cirrus.emulator.emulator import Options, emulator
from cirrus.store.sigv4 import Credentials


async def serve(told: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    keys = Credentials(told["access_key"], told["secret_key"])
    options = Options(
        region=told["region"], credentials=keys, role=told["role"], concurrency=told["concurrency"]
    )  # fmt: skip
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    os.set_blocking(sys.stdin.fileno(), False)

    def heard() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            over.set()

    loop.add_signal_handler(signal.SIGTERM, over.set)
    loop.add_signal_handler(signal.SIGINT, lambda: None)  # a terminal's Ctrl-C is for the driver, which then tells us
    async with emulator(options) as found:
        sys.stdout.write(json.dumps({"endpoint": found.endpoint}) + "\n")
        sys.stdout.flush()
        loop.add_reader(sys.stdin.fileno(), heard)
        await over.wait()


def main() -> None:
    """Be an emulator."""
    told = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(told))


if __name__ == "__main__":
    main()
