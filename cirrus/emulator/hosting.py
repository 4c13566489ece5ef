"""The function of workers on an emulator: its bundle, and how it is put there."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cirrus.bundle.building import Wish, machine
from cirrus.bundle.cache import cached
from cirrus.bundle.contents import HANDLER
from cirrus.clock import Clock
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.lambda_code import Code, create
from cirrus.cloud.lambda_invoker import open_client
from cirrus.emulator.identity import ROLE
from cirrus.store.aside import aside


@dataclass(frozen=True, slots=True)
class Hosted:
    """A function of workers: MB, seconds, and what its bundle has besides cirrus."""

    memory: int
    timeout: int
    extra: tuple[str, ...] = ()


async def host(at: LambdaFunction, wish: Hosted, clock: Clock) -> None:
    """Build the bundle, unless it was built before, and make the function; ``OutsideError``, ``PipelineError``."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    data = await aside(lambda: cached(Wish.here(wish.extra)))
    code = Code(
        data=data, handler=f"{HANDLER}.handler", python=python, architecture=machine(), memory=wish.memory,
        timeout=wish.timeout, role=ROLE,
    )  # fmt: skip
    client = await open_client(at)
    try:
        await create(client, code, clock)
    finally:
        await client.close()
