"""Workers as calls of an executor: each call starts a process beside itself, waits for its end and tells it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

from cirrus.clock import Clock, SystemClock
from cirrus.cloud.assignments import assignment_from_json, assignment_to_json
from cirrus.cloud.base import Assignment, Cause, Exit
from cirrus.cloud.local import LocalInvoker
from cirrus.core.cost import Price
from cirrus.core.ids import WorkerId
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError
from cirrus.store.aside import aside

GRACE = 5.0

EXACT = (ProcessPoolExecutor, ThreadPoolExecutor)
"""Whose calls cannot be cancelled once they have begun; Dask says that one is, and lets it go on."""

Told = tuple[Cause, str, float]
"""How a worker ended: cause, detail, seconds that it lived."""


def work(command: tuple[str, ...], assignment: str) -> Told:
    """In the executor: start a worker of this machine, with its limits, and wait for its end.

    A process of its own takes nothing with it when it is ended, and learns by its input when this one is gone.
    """
    return asyncio.run(_lived(command, assignment_from_json(assignment)))


async def _lived(command: tuple[str, ...], assignment: Assignment) -> Told:
    invoker = LocalInvoker(command, SystemClock(), GRACE)
    _, end = await asyncio.gather(invoker.watch(), _end_of(invoker, assignment))
    return end.cause, end.detail, end.seconds


async def _end_of(invoker: LocalInvoker, assignment: Assignment) -> Exit:
    try:
        await invoker.invoke(assignment)
        return await anext(invoker.exits())
    finally:
        await invoker.close()


class ExecutorInvoker:
    """Starts each worker by a call on ``executor``; once that has begun, only the shards can send the worker away."""

    def __init__(self, executor: Executor, command: tuple[str, ...], clock: Clock, grace: float, price: Price) -> None:
        self._executor = executor
        self._command = command
        self._clock = clock
        self._grace = grace
        self._price = price
        self._calls: dict[Future[Told], WorkerId] = {}
        self._exits: asyncio.Queue[Exit | None] = asyncio.Queue()
        self._over = asyncio.Event()

    async def terms(self) -> Terms:
        """What the place says that workers cost; their limits are those that each is asked to have."""
        return Terms(price=self._price)

    async def invoke(self, assignment: Assignment) -> None:
        """Have the executor call; ``InvokeError`` where it takes no calls any more."""
        if self._over.is_set():
            raise InvokeError("nothing is invoked after close")
        words, loop = assignment_to_json(assignment), asyncio.get_running_loop()
        try:
            call = await aside(lambda: self._executor.submit(work, self._command, words))
        except RuntimeError as error:  # it was shut down, or is broken
            raise InvokeError(f"the executor takes no calls: {error}") from error
        self._calls[call] = assignment.worker
        began = self._clock.monotonic()

        def told(ended: Future[Told]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(self._tell, ended, began)

        call.add_done_callback(told)

    async def stop(self, worker: WorkerId) -> None:
        """Take back the worker's calls that have not begun, where the executor knows which these are."""
        if not isinstance(self._executor, EXACT):
            return
        for call, name in tuple(self._calls.items()):
            if name == worker:
                await aside(call.cancel)

    async def exits(self) -> AsyncIterator[Exit]:
        """Ends of workers in the order in which they were heard of, each given to one reader, until ``close``."""
        while (ended := await self._exits.get()) is not None:
            yield ended
        self._exits.put_nowait(None)  # for the next reader

    async def watch(self) -> None:
        """There is nothing to do but to wait for ``close``."""
        await self._over.wait()

    async def close(self) -> None:
        """Take back what has not begun, and wait a while for the others, which the shards have sent away.

        What has not ended then is cancelled, so that it does not begin any more.
        """
        self._over.set()
        for worker in set(self._calls.values()):
            await self.stop(worker)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._grace):
                await asyncio.gather(*(asyncio.wrap_future(call) for call in self._calls), return_exceptions=True)
        self._exits.put_nowait(None)

    def _tell(self, call: Future[Told], began: float) -> None:
        worker = self._calls.pop(call)
        try:
            cause, detail, seconds = call.result()
        except CancelledError:
            if not isinstance(self._executor, EXACT):
                return  # perhaps it goes on: who is not told of an end bills it to its timeout
            cause, detail, seconds = "killed", "its call was taken back", 0.0
        except Exception as error:  # noqa: BLE001  whatever an executor has for processes that are gone
            cause, detail = "crashed", f"the executor lost it: {error!r}"
            seconds = self._clock.monotonic() - began
        self._exits.put_nowait(Exit(worker, cause, detail, seconds))
