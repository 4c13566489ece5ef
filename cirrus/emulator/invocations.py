"""Invocations: at once for callers who wait, and from a queue, with AWS's rules for trying again, for events."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cirrus.actors.kernel import Kernel
from cirrus.core.restarts import Backoff
from cirrus.emulator.account import Account, Function
from cirrus.emulator.billing import Report, billed
from cirrus.emulator.faults import Crash, Duplicate, Fault, Late, Lose, Plan, Throttle
from cirrus.emulator.functions import EventConfig
from cirrus.emulator.refusals import Refusal, conflict, throttled
from cirrus.emulator.runtime_api import Work
from cirrus.emulator.sandbox import Outcome
from cirrus.errors import InvokeError

Ended = Literal["done", "failed", "expired", "lost"]
ROOM = Backoff(first=0.05, factor=2.0, most=30.0)
"""Pauses between two attempts to find room for an event; AWS begins with 1 s and goes up to 5 minutes."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A request that was accepted; ``number`` counts invoke requests from 1."""

    function: Function
    payload: bytes
    number: int
    fault: Fault | None
    request_id: str

    @property
    def crash(self) -> float | None:
        """After how many seconds its sandbox is to be killed."""
        return self.fault.seconds if isinstance(self.fault, Crash) else None


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of an event: how it ended, after how many executions."""

    number: int
    request_id: str
    ended: Ended
    attempts: int


class Invocations:
    """Executes what is asked for; ``delivered`` tells of events that are over.

    ``delays`` are the seconds before the first and the second repetition of an event after an error.
    """

    def __init__(self, kernel: Kernel, account: Account, plan: Plan, delays: tuple[float, float]) -> None:
        self.delivered: list[Delivered] = []
        self._kernel = kernel
        self._account = account
        self._plan = plan
        self._delays = delays
        self._accepted = 0
        self._waiters: list[Callable[[], None]] = []

    def accept(self, function: Function, payload: bytes) -> Invocation:
        """Number a request; ``Refusal`` where the function is not ready or the plan has it refused."""
        if function.state != "Active":
            raise conflict(
                "The operation cannot be performed at this time. The function is currently in the following state: "
                + function.state
            )
        self._accepted += 1
        fault = self._plan(self._accepted)
        if isinstance(fault, Throttle):
            raise throttled("CallerRateLimitExceeded")
        request_id = str(uuid.uuid4())  # noqa: TID251  a name that nothing depends on
        return Invocation(function, payload, self._accepted, fault, request_id)

    async def call(self, invocation: Invocation) -> Outcome:
        """Execute it and return how it ended; ``Refusal`` where there is no room."""
        with self._account.place(invocation.function):
            match invocation.fault:
                case Late(seconds):
                    await self._kernel.clock.sleep(seconds)
                case Lose():
                    raise Refusal(500, "ServiceException", "The service encountered an internal error.")
                case _:
                    pass
            return await self._execute(invocation, 1)

    def enqueue(self, invocation: Invocation) -> None:
        """Take an event in: it is executed at least once, as long as it is good."""
        match invocation.fault:
            case Lose():
                self.delivered.append(Delivered(invocation.number, invocation.request_id, "lost", 0))
            case Duplicate(seconds):
                self._deliver(invocation, 0.0)
                self._deliver(invocation, seconds)
            case Late(seconds):
                self._deliver(invocation, seconds)
            case Crash() | Throttle() | None:
                self._deliver(invocation, 0.0)

    def _deliver(self, invocation: Invocation, after: float) -> None:
        self._kernel.task(self._event(invocation, after), name=f"emulator.event-{invocation.number}")

    async def _event(self, invocation: Invocation, after: float) -> None:
        clock, function = self._kernel.clock, invocation.function
        config = function.events or EventConfig()
        begun = clock.monotonic()
        await clock.sleep(after)
        attempts = failures = 0
        while function.reserved != 0 and clock.monotonic() - begun < config.age:
            try:
                with self._account.place(function):
                    attempts += 1
                    outcome = await self._execute(invocation, attempts)
            except Refusal:
                failures += 1
                await clock.sleep(ROOM.delay(failures, 0.0))
                continue
            if outcome.kind == "done" or attempts > config.retries:
                ended: Ended = "done" if outcome.kind == "done" else "failed"
                self.delivered.append(Delivered(invocation.number, invocation.request_id, ended, attempts))
                return
            await clock.sleep(self._delays[attempts - 1])
        self.delivered.append(Delivered(invocation.number, invocation.request_id, "expired", attempts))

    async def _execute(self, invocation: Invocation, attempt: int) -> Outcome:
        function, account = invocation.function, self._account
        generation, memory = function.generation, function.configuration.memory
        try:
            sandbox = await account.sandbox(function)
        except InvokeError as error:
            raise Refusal(500, "ServiceException", str(error)) from error
        try:
            work = Work(invocation.request_id, function.arn, invocation.payload, 0)
            outcome = await sandbox.run(work, invocation.crash)
        except BaseException:
            await account.end(function, sandbox)
            raise
        name = function.configuration.name
        account.reports.append(
            Report(
                invocation.request_id, name, invocation.number, attempt, outcome.kind, outcome.init, outcome.seconds,
                billed(outcome), -(-outcome.peak // 2**20), memory,
            )
        )  # fmt: skip
        if outcome.kind in {"done", "failed"} and sandbox.alive and generation == function.generation:
            function.idle.append(sandbox)
        else:
            await account.end(function, sandbox)
        return outcome
