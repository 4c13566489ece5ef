"""What tests of whole runs on the emulator share: the oracle's bundle, a deployed function, and a place to run at."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cirrus.bundle.building import machine
from cirrus.bundle.packing import pack
from cirrus.clock import SystemClock
from cirrus.cloud.aws import Aws, LambdaFunction
from cirrus.cloud.base import Side
from cirrus.cloud.lambda_code import Code, create
from cirrus.cloud.lambda_invoker import open_client
from cirrus.core.slots import PoolPolicy
from cirrus.emulator.emulator import Emulator, Options, emulator
from cirrus.emulator.faults import Plan, nothing_wrong
from cirrus.emulator.hosting import Hosted, host
from cirrus.emulator.identity import NAME, ROLE, role_for
from cirrus.store.base import ObjectStore
from cirrus.testing.seaweed import Seaweed

ROOT = Path(__file__).parents[2]
MODELS = ("cirrus/testing/__init__.py", "cirrus/testing/counting.py", "tests/__init__.py", "tests/chaos/__init__.py",
          "tests/chaos/costly.py")  # fmt: skip
"""What the oracle's workers import that no bundle has by itself."""

BUCKET = "cirrus-runs"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place(Aws):
    """AWS's place on servers of this machine, with patience of its own; ``opened`` is told where shards listen."""

    patience: PoolPolicy = field(default_factory=lambda: PoolPolicy(start_deadline=20.0))
    meddle: Callable[[ObjectStore], ObjectStore] = lambda store: store
    opened: Callable[[tuple[str, ...]], tuple[str, ...]] = lambda shards: shards

    @property
    def policy(self) -> PoolPolicy:
        return self.patience

    def open(self) -> ObjectStore:
        return self.meddle(Aws.open(self))

    def reached(self, shards: tuple[str, ...], side: Side) -> tuple[str, ...]:
        return self.opened(shards) if side == "worker" else shards


def extra(folder: Path) -> tuple[str, ...]:
    """The folders that a bundle needs for the oracle's models, below ``folder``."""
    for name in MODELS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    return str(folder / "cirrus"), str(folder / "tests")


@dataclass(frozen=True, slots=True)
class Ground:
    """An S3 server whose keys are in the environment, and what bundles need."""

    server: Seaweed
    extra: tuple[str, ...]

    @asynccontextmanager
    async def function(
        self,
        faults: Plan = nothing_wrong,
        *,
        memory: int = 512,
        timeout: int = 60,
        extra: tuple[str, ...] | None = None,
        concurrency: int = 1000,
    ) -> AsyncIterator[Emulator]:
        """An emulator with the function of workers, while the block runs."""
        role = await role_for("s3://")
        options = Options(role=role, faults=faults, concurrency=concurrency)
        async with emulator(options) as found:
            extra = self.extra if extra is None else extra
            await host(at(found), Hosted(memory, timeout, extra), SystemClock())
            yield found

    def place(self, found: Emulator, **more: Any) -> Place:
        """The place whose workers are invocations of that function."""
        wish: dict[str, Any] = {"endpoint_url": found.endpoint, "s3_endpoint_url": self.server.endpoint, **more}
        return Place(bucket=BUCKET, function=NAME, region="us-east-1", **wish)


def at(found: Emulator) -> LambdaFunction:
    """The function of workers there."""
    options = found.options
    return LambdaFunction(
        name=NAME, region=options.region, endpoint_url=found.endpoint, credentials=options.credentials
    )  # fmt: skip


@asynccontextmanager
async def function_of(source: str) -> AsyncIterator[Emulator]:
    """An emulator whose function of workers has that source."""
    async with emulator(Options(preload=("json",))) as found:
        client = await open_client(at(found))
        try:
            code = Code(
                data=pack({"task.py": source.encode()}), handler="task.handler", python=PYTHON, architecture=machine(),
                memory=256, timeout=30, role=ROLE,
            )  # fmt: skip
            await create(client, code, SystemClock())
        finally:
            await client.close()
        yield found
