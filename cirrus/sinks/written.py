"""A sink that is written on a thread of its own, while what is said waits in a queue of bounded length."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from cirrus.actors.kernel import Kernel
from cirrus.events import Event
from cirrus.sinks.aside import Aside
from cirrus.sinks.base import Writer
from cirrus.sinks.pausing import pause
from cirrus.sinks.redacting import redacted
from cirrus.sinks.waiting import Waiting

AT_ONCE = 256
"""Events that are written together."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
"""Seconds between a failure and the next try: doubled from one to the other."""


class Written:
    """Hands events to the writer that ``open_writer`` makes, both on a thread; what fails is tried again.

    While the sink is down, events wait (see ``Waiting``). Once nothing more comes there is one last try.
    """

    def __init__(self, kernel: Kernel, name: str, open_writer: Callable[[], Writer]) -> None:
        self._problem = ""
        self._kernel = kernel
        self._aside = Aside(name)
        self._pen = _Pen(open_writer)
        self._waiting = Waiting()
        self._held = 0  # handed to the thread, and not yet written
        self._lost = 0
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Events that found no room, could not be written as they are, or were not written when the time was up."""
        return self._waiting.dropped + self._pen.left_out + self._lost

    @property
    def problem(self) -> str:
        """The newest failure, or why an event was left out."""
        return redacted(self._problem or self._pen.problem)

    async def follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._waiting.put(event)
            self._news.set()

    def finish(self) -> None:
        self._over.set()
        self._news.set()

    async def pour(self) -> None:
        try:
            while await self._more():
                if not await self._write(self._waiting.take(AT_ONCE)):
                    break
            with contextlib.suppress(Exception):  # what was flushed is there
                await self._aside.call(self._pen.close)
        finally:
            self._lost += self._held
            self._waiting.give_up()
            await self._aside.close(self._kernel.clock)

    async def _more(self) -> bool:
        """Wait until something waits to be written; ``False`` where nothing will any more."""
        while not self._waiting:
            if self._over.is_set():
                return False
            self._news.clear()
            await self._news.wait()
        return True

    async def _write(self, batch: list[Event]) -> bool:
        """Write until it is done; ``False`` where it fails and nothing more will come."""
        self._held = len(batch)
        seconds = FIRST_PAUSE
        while True:
            last = self._over.is_set()
            try:
                await self._aside.call(lambda: self._pen.write(batch))
            except Exception as error:  # noqa: BLE001  whatever a sink does, the run goes on
                self._problem = f"{type(error).__name__}: {error}"
            else:
                self._held = 0
                return True
            if last:
                return False
            await pause(self._kernel, seconds, self._over)
            seconds = min(2.0 * seconds, LONGEST_PAUSE)


class _Pen:
    """A writer on its thread, opened when something is to be written; ``left_out`` counts what no writer can say."""

    def __init__(self, open_writer: Callable[[], Writer]) -> None:
        self.left_out = 0
        self.problem = ""
        self._open = open_writer
        self._writer: Writer | None = None

    def write(self, batch: list[Event]) -> None:
        """Write the batch and empty it; what is left in it when this raises is to be brought again."""
        if self._writer is None:
            self._writer = self._open()
        while batch:
            try:
                self._writer.take(batch[0])
            except ValueError as error:
                self.left_out += 1
                self.problem = str(error)
            del batch[0]
        self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
