"""The function of workers on an emulator: its bundle, its settings, and the keys that requests and workers have."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cirrus.bundle.building import Wish, machine
from cirrus.bundle.cache import cached
from cirrus.bundle.contents import HANDLER
from cirrus.clock import Clock
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.lambda_code import Code, create
from cirrus.cloud.lambda_invoker import open_client, own_credentials
from cirrus.store.aside import aside

NAME = "cirrus-worker"
"""What the function is called."""

ROLE = "arn:aws:iam::000000000000:role/cirrus-worker"


@dataclass(frozen=True, slots=True)
class Hosted:
    """A function of workers: MB, seconds, and what its bundle has besides cirrus."""

    memory: int
    timeout: int
    extra: tuple[str, ...] = ()


async def role_for(store: str) -> dict[str, str]:
    """The variables by which workers reach the store at that URL: a function's role has no keys of its own here."""
    found = await own_credentials() if store.startswith("s3:") else None
    if found is None:
        return {}
    token = {"AWS_SESSION_TOKEN": found.token} if found.token else {}
    return {"AWS_ACCESS_KEY_ID": found.access_key, "AWS_SECRET_ACCESS_KEY": found.secret_key, **token}


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
