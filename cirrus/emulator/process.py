"""An emulator in a process of its own, with the function of workers: its options are one line of JSON on its input.

It says where it listens, or what went wrong, and ends with its input, and everything that it started with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import Any

import uvloop

from cirrus.clock import SystemClock
from cirrus.cloud.aws import LambdaFunction
from cirrus.emulator.emulator import Options, emulator
from cirrus.emulator.hosting import Hosted, host
from cirrus.emulator.identity import NAME
from cirrus.errors import CirrusError
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
    loop.add_reader(sys.stdin.fileno(), heard)
    async with emulator(options) as found:
        at = LambdaFunction(name=NAME, region=options.region, endpoint_url=found.endpoint, credentials=keys)
        wish = Hosted(told["memory"], told["timeout"], tuple(told["extra"]))
        try:
            await host(at, wish, SystemClock())
        except CirrusError as error:
            _say({"problem": str(error)})
            return
        _say({"endpoint": found.endpoint})
        await over.wait()


def _say(words: dict[str, str]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Be an emulator."""
    told = json.loads(sys.stdin.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(told))


if __name__ == "__main__":
    main()
