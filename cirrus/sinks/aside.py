"""A thread for calls that may not come back."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from cirrus.clock import Clock

T = TypeVar("T")


class Aside:
    """Makes one call after another on a thread that nobody has to wait for.

    A kernel waits for its threads. This one is left behind where a call does not come back, and ends when it does, or
    with the process. It starts with the first call.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"cirrus-{name}", daemon=True)
        self._pending = 0

    async def call(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises, after the calls before it; a caller that is cancelled goes at once."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(done: Callable[[], None]) -> None:
            self._pending -= 1
            if not future.done():
                done()

        def make() -> None:
            try:
                done = partial(future.set_result, work())
            except BaseException as error:  # noqa: BLE001  it is raised in the caller
                done = partial(future.set_exception, error)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, done)

        if self._thread.ident is None:
            self._thread.start()
        self._pending += 1
        self._calls.put(make)
        return await future

    async def close(self, clock: Clock) -> None:
        """End the thread; waits for it unless it is in the middle of a call."""
        self._calls.put(None)
        while not self._pending and self._thread.is_alive():  # it has nothing left to do but to end
            await clock.sleep(0)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
