"""A sandbox: one process under AWS's runtime client, with limits on time and memory, one invocation at a time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cirrus.clock import Clock
from cirrus.cloud.child import PAGE
from cirrus.cloud.local import HEADROOM, MEGABYTE
from cirrus.emulator.forks import Forks, Sprout
from cirrus.emulator.runtime_api import RuntimeApi, Said, Work

INIT_SECONDS = 10.0
"""How long a sandbox may take to begin, beyond its function's timeout: AWS begins anew within that after 10 s."""

_Awaited = asyncio.Future[None] | asyncio.Future[Said] | asyncio.Future[int]
Kind = Literal["done", "failed", "init", "timeout", "memory", "crashed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an invocation ended, with what its caller gets; ``init`` and ``seconds`` as they are billed."""

    kind: Kind
    payload: bytes
    init: float
    seconds: float
    peak: int


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds for an invocation, and MB."""

    timeout: float
    memory: int


class Sandbox:
    """A process that does one invocation after another; made by ``open``, to be closed."""

    def __init__(self, forks: Forks, api: RuntimeApi, sprout: Sprout, clock: Clock, limits: Limits) -> None:
        self._forks = forks
        self._api = api
        self._sprout = sprout
        self._clock = clock
        self._limits = limits
        self._born = clock.monotonic()
        self._peak = 0
        self._memory_exceeded = False

    @classmethod
    async def open(cls, forks: Forks, environment: dict[str, str], log: Path, limits: Limits, clock: Clock) -> Sandbox:
        """Fork the process and let it begin."""
        api = RuntimeApi()
        try:
            environment = {**environment, "AWS_LAMBDA_RUNTIME_API": await api.open()}
            sprout = await forks.sprout(environment, log, (limits.memory + HEADROOM) * MEGABYTE)
        except BaseException:
            await api.close()
            raise
        return cls(forks, api, sprout, clock, limits)

    @property
    def alive(self) -> bool:
        """Whether it may be given another invocation."""
        return not self._sprout.ended.done() and not self._memory_exceeded

    async def run(self, work: Work, crash: float | None = None) -> Outcome:
        """Have it do the work; after any end but an answer or an error of the handler it is of no more use.

        ``crash`` seconds after it has begun it is killed, where that is given.
        """
        init = 0.0
        if not self._api.ready.done():
            most = INIT_SECONDS + self._limits.timeout
            await self._first({self._api.ready, self._api.failed, self._sprout.ended}, most)
            init = self._clock.monotonic() - self._born
            if not self._api.ready.done():
                return await self._never_began(work, init)
        began = self._clock.monotonic()
        deadline = int((self._clock.wall() + self._limits.timeout) * 1000)
        said = self._api.offer(Work(work.request_id, work.arn, work.payload, deadline))
        killer = None if crash is None else asyncio.get_running_loop().call_later(crash, self.kill)
        await self._first({said, self._sprout.ended}, self._limits.timeout)
        if killer is not None:
            killer.cancel()
        self.look()
        seconds = self._clock.monotonic() - began
        if said.done():
            kind, payload = _verdict(said.result())
        elif self._sprout.ended.done():
            kind, payload = self._died(work)
        else:
            await self._end()
            seconds = self._limits.timeout
            kind, payload = "timeout", _error(
                "Sandbox.Timedout", f"RequestId: {work.request_id} Error: Task timed out after {seconds:.2f} seconds"
            )  # fmt: skip
        return Outcome(kind, payload, init, seconds, self._peak)

    def look(self) -> None:
        """See how much memory it holds, and kill it where that is too much."""
        if self._sprout.ended.done():
            return
        try:
            fields = Path(f"/proc/{self._sprout.pid}/statm").read_bytes().split()
        except OSError:
            return
        resident = int(fields[1]) * PAGE
        self._peak = max(self._peak, resident)
        if resident > self._limits.memory * MEGABYTE:
            self._memory_exceeded = True
            self.kill()

    def kill(self) -> None:
        """End the process and all that it has started."""
        self._forks.kill(self._sprout)

    async def close(self) -> None:
        """End the process and let go of its port."""
        await self._end()
        await self._api.close()

    async def _end(self) -> None:
        self.kill()
        await asyncio.wait((self._sprout.ended,))

    async def _first(self, futures: set[_Awaited], most: float) -> None:
        await asyncio.wait(futures, timeout=most, return_when=asyncio.FIRST_COMPLETED)

    async def _never_began(self, work: Work, init: float) -> Outcome:
        if self._api.failed.done():
            payload = self._api.failed.result().payload
        elif self._sprout.ended.done():
            payload = self._died(work)[1]
        else:
            payload = _error("Sandbox.Timedout", f"RequestId: {work.request_id} Error: initialization took too long")
        await self._end()
        return Outcome("init", payload, init, 0.0, self._peak)

    def _died(self, work: Work) -> tuple[Kind, bytes]:
        code = self._sprout.ended.result()
        how = "signal: killed" if code == -9 else f"signal: {-code}" if code < 0 else f"exit status {code}"
        payload = _error("Runtime.ExitError", f"RequestId: {work.request_id} Error: Runtime exited with error: {how}")
        return "memory" if self._memory_exceeded else "crashed", payload


def _verdict(said: Said) -> tuple[Kind, bytes]:
    return ("done" if said.error is None else "failed"), said.payload


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()
