"""``cirrus emulate``: Lambda with the function of workers, and an S3 server, for other processes of this machine."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from cirrus.cli.output import print_json
from cirrus.cli.places import BUCKET, s3_server
from cirrus.clock import SystemClock
from cirrus.cloud.aws import LambdaFunction
from cirrus.emulator.emulator import Options, emulator
from cirrus.emulator.faults import FAULTS, Plan, nothing_wrong, seeded
from cirrus.emulator.hosting import Hosted, host
from cirrus.emulator.identity import NAME, new_keys
from cirrus.errors import PipelineError
from cirrus.store.sigv4 import Credentials


@dataclass(frozen=True, slots=True)
class _Served:
    """What others need to know."""

    endpoint: str
    s3_endpoint: str
    region: str
    keys: Credentials

    def print(self, *, as_json: bool) -> None:
        """Say it: as an object, or as lines for a shell."""
        named = {
            "endpoint_url": self.endpoint, "s3_endpoint_url": self.s3_endpoint, "function": NAME,
            "region": self.region, "bucket": BUCKET,
        }  # fmt: skip
        secret = {"AWS_ACCESS_KEY_ID": self.keys.access_key, "AWS_SECRET_ACCESS_KEY": self.keys.secret_key}
        if as_json:
            print_json({**named, "access_key": self.keys.access_key, "secret_key": self.keys.secret_key})
        else:
            print("\n".join(f"export {name}={value}" for name, value in secret.items()))
            options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in named.items())
            print(f"cirrus run FILE --on aws {options}", flush=True)


async def emulate(arguments: Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    faults = _plan(arguments.faults, arguments.seed)
    with ExitStack() as stack:
        folder = arguments.folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="cirrus-emulate-"))
        keys = new_keys()
        server, _ = stack.enter_context(s3_server(Path(folder), keys))
        role = {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        options = Options(
            port=arguments.port, region=arguments.region, credentials=keys, role=role,
            concurrency=arguments.concurrency,
        )  # fmt: skip
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, over.set)
        async with emulator(replace(options, faults=faults)) as found:
            at = LambdaFunction(name=NAME, region=options.region, endpoint_url=found.endpoint, credentials=keys)
            await host(at, Hosted(arguments.memory, arguments.timeout, tuple(arguments.sources)), SystemClock())
            _Served(found.endpoint, server.endpoint, options.region, keys).print(as_json=arguments.json)
            await over.wait()


def _plan(words: list[str], seed: int) -> Plan:
    """What goes wrong by chance: ``lose=0.1``, ``late=0.2`` and so on; ``PipelineError`` for other words."""
    odds: dict[str, float] = {}
    for word in words:
        name, _, chance = word.partition("=")
        try:
            odds[FAULTS[FAULTS.index(name)]] = float(chance)
        except ValueError:
            raise PipelineError("--fault", word, f"one of {', '.join(FAULTS)} with a chance, as lose=0.1") from None
    return seeded(seed, **odds) if odds else nothing_wrong
