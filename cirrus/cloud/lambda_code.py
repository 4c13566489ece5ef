"""A new function from a bundle, as workers need it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cirrus.clock import Clock
from cirrus.errors import InvokeError

if TYPE_CHECKING:
    from cirrus.cloud.lambda_client import LambdaClient

EVENT_SECONDS = 60
"""For how long an event is good that finds no room: the least that Lambda allows."""

LOOK = 0.05
"""Seconds between two looks at whether it can be invoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A zip and how it runs: its handler, Python's version, the machine, MB, seconds, the ARN of the role."""

    data: bytes = field(repr=False)
    handler: str
    python: str
    architecture: str
    memory: int
    timeout: int
    role: str


async def create(client: LambdaClient, code: Code, clock: Clock) -> None:
    """Make the function and return when it can be invoked; events that fail are not tried again. ``InvokeError``."""
    await client.call(
        "CreateFunction", "create_function", Runtime=f"python{code.python}", Handler=code.handler, Role=code.role,
        Architectures=[code.architecture], MemorySize=code.memory, Timeout=code.timeout, Code={"ZipFile": code.data},
    )  # fmt: skip
    while (state := (await client.function()).state) == "Pending":
        await clock.sleep(LOOK)
    if state != "Active":
        raise InvokeError(f"Lambda could not make the function: its state is {state}")
    await client.call(
        "PutFunctionEventInvokeConfig", "put_function_event_invoke_config",
        MaximumRetryAttempts=0, MaximumEventAgeInSeconds=EVENT_SECONDS,
    )  # fmt: skip
