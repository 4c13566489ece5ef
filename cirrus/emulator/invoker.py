"""Workers on an emulator that lives as long as their run: everything between is as on AWS."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator

from cirrus.clock import Clock
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Assignment, Exit
from cirrus.cloud.child import Child
from cirrus.cloud.lambda_invoker import LambdaInvoker
from cirrus.cloud.processes import Processes
from cirrus.core.ids import WorkerId
from cirrus.core.terms import Terms
from cirrus.emulator.identity import NAME, new_keys, role_for
from cirrus.emulator.place import Emulated
from cirrus.errors import InvokeError

COMMAND = (sys.executable, "-m", "cirrus.emulator.process")
START = 600.0  # seconds for the emulator to answer: it builds a bundle, and downloads what goes into that


class EmulatedInvoker:
    """Starts an emulator with the workers' function, and invokes that; ``terms`` has to be asked for first.

    The emulator is a process of its own, which builds and deploys as well, so that the host's loop has no more to do
    than for AWS.
    """

    def __init__(self, place: Emulated, clock: Clock, grace: float) -> None:
        self._place = place
        self._clock = clock
        self._grace = grace
        self._processes = Processes()
        self._emulator: Child | None = None
        self._lambda: LambdaInvoker | None = None
        self._closed = False

    async def terms(self) -> Terms:
        """Those of AWS, for a function that is made now; ``OutsideError``, ``PipelineError`` where it cannot be."""
        place, keys = self._place, new_keys()
        told = {
            "region": place.region, "concurrency": place.concurrency, "role": await role_for(place.url),
            "access_key": keys.access_key, "secret_key": keys.secret_key, "memory": place.memory,
            "timeout": place.timeout, "extra": place.extra,
        }  # fmt: skip
        self._emulator = await self._processes.start(COMMAND, json.dumps(told), stdout="line")
        said = json.loads(await self._emulator.line(START))
        if "problem" in said:
            raise InvokeError(f"the function of workers cannot be made: {said['problem']}")
        at = LambdaFunction(name=NAME, region=place.region, endpoint_url=said["endpoint"], credentials=keys)
        self._lambda = LambdaInvoker(at, self._clock)
        return await self._lambda.terms()

    async def invoke(self, assignment: Assignment) -> None:
        """Ask for a worker; ``InvokeError``, ``Throttled``, ``Unanswered``."""
        await self._inner.invoke(assignment)

    async def stop(self, worker: WorkerId) -> None:
        """Functions end nobody before its time."""

    async def exits(self) -> AsyncIterator[Exit]:
        """None are told, as on AWS; it ends with ``close``."""
        async for one in self._inner.exits():
            yield one

    async def watch(self) -> None:
        """Wait for ``close``; ``InvokeError`` with its last words where the emulator ends before."""
        assert self._emulator is not None, "terms come first"
        ended = await self._emulator.wait()
        if not self._closed:
            raise InvokeError(f"the emulator has ended with exit code {ended.code}\n{ended.evidence}")

    async def close(self) -> None:
        """End the emulator and all workers."""
        self._closed = True
        if self._lambda is not None:
            await self._lambda.close()
        await self._processes.close(self._grace)

    @property
    def _inner(self) -> LambdaInvoker:
        if self._lambda is None:
            raise InvokeError("nothing is invoked before the function is there")
        return self._lambda
