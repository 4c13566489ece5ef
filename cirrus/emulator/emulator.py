"""Lambda on this machine: its API, its runtime and its limits, for tests and trials without an account."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cirrus.actors.kernel import Kernel
from cirrus.actors.listening import Address, Listener
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.processes import Processes
from cirrus.emulator.account import Account, Setting
from cirrus.emulator.billing import Report
from cirrus.emulator.faults import Plan, nothing_wrong
from cirrus.emulator.invocations import Delivered, Invocations
from cirrus.emulator.rest import Rest
from cirrus.store.sigv4 import Credentials

TICK = 0.05
"""Seconds between two looks at the memory of sandboxes."""

WORKER = ("lambda_handler.handler", "cirrus.store.s3_lean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How an emulator behaves.

    ``credentials`` must sign every request. ``role`` are variables that stand for the credentials of the functions'
    role. ``concurrency`` is how many executions run at a time, ``faults`` what goes wrong on purpose. Sandboxes are
    forked from a process that has imported ``preload``; without any, each is a new interpreter. ``delays`` are the
    seconds before an event is tried for the second and the third time after an error, 60 and 120 on AWS.
    """

    port: int = 0
    region: str = "us-east-1"
    account: str = "000000000000"
    credentials: Credentials = field(default_factory=lambda: Credentials("an-access-key", "a-secret-key-of-tests"))
    role: Mapping[str, str] = field(default_factory=dict, repr=False)
    concurrency: int = 1000
    faults: Plan = nothing_wrong
    preload: tuple[str, ...] = WORKER
    delays: tuple[float, float] = (60.0, 120.0)
    clock: Clock = field(default_factory=SystemClock)


class Emulator:
    """An emulator that answers at ``endpoint``; made by ``emulator``."""

    def __init__(self, endpoint: str, options: Options, account: Account, invocations: Invocations) -> None:
        self.endpoint = endpoint
        self.options = options
        self._account = account
        self._invocations = invocations

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which AWS's tools find Lambda here, with keys that are accepted."""
        return {
            "AWS_ENDPOINT_URL_LAMBDA": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.options.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.options.credentials.secret_key,
            "AWS_REGION": self.options.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    @property
    def reports(self) -> tuple[Report, ...]:
        """What was billed, an execution each, in the order of their ends."""
        return tuple(self._account.reports)

    @property
    def delivered(self) -> tuple[Delivered, ...]:
        """The events that are over, in the order of their ends."""
        return tuple(self._invocations.delivered)

    def running(self, function: str) -> int:
        """How many executions of a function are under way."""
        return self._account.function(function).running

    def log(self, function: str) -> Path:
        """The file with all that a function has printed; it goes with the emulator."""
        return self._account.log(function)


@asynccontextmanager
async def emulator(options: Options | None = None) -> AsyncIterator[Emulator]:
    """Run an emulator on this machine while the block does; its files and processes end with it."""
    options = options or Options()
    processes = Processes()
    setting = Setting(options.region, options.account, options.concurrency, options.role, options.preload)
    with tempfile.TemporaryDirectory(prefix="cirrus-emulator-") as folder:
        try:
            async with Kernel(options.clock) as kernel:
                account = Account(kernel, processes, Path(folder), setting)
                invocations = Invocations(kernel, account, options.faults, options.delays)
                rest = Rest(kernel, account, invocations, options.credentials)
                listener = Listener(rest.app(), Address(port=options.port))
                kernel.task(account.watch(TICK), name="emulator.watch")
                try:
                    port = await listener.start()
                    yield Emulator(f"http://127.0.0.1:{port}", options, account, invocations)
                finally:
                    await account.close()
                    await listener.stop()
        finally:
            await processes.close(grace=1.0)
