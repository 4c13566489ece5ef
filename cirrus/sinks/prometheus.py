"""``cirrus.prometheus``: the newest figures of a run for Prometheus to fetch, from a port of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cirrus import checks
from cirrus.actors.kernel import Kernel, undisturbed
from cirrus.errors import PipelineError
from cirrus.events import Event
from cirrus.sinks.base import Outlet
from cirrus.sinks.exposition import Exposition
from cirrus.sinks.pausing import pause
from cirrus.sinks.written import FIRST_PAUSE, LONGEST_PAUSE

if TYPE_CHECKING:
    from cirrus.actors.listening import Listener

Exposure = Literal["loopback", "insecure"]


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A port that answers ``GET /metrics``."""

    port: int
    host: str
    exposure: Exposure

    @property
    def name(self) -> str:
        return f"prometheus('http://{self.host}:{self.port}/metrics')"

    def outlet(self, kernel: Kernel) -> Outlet:
        return _Served(kernel, self)


class _Served:
    """Takes events in on the loop, where they are reduced at once, and answers from it until the run's block ends."""

    def __init__(self, kernel: Kernel, sink: Prometheus) -> None:
        self.problem = ""
        self._kernel = kernel
        self._sink = sink
        self._exposition = Exposition()
        self._unseen = 0
        self._listening = False
        self._over = asyncio.Event()

    @property
    def dropped(self) -> int:
        """Events that nobody could ask for: all, while the port is not to be had."""
        return 0 if self._listening else self._unseen

    async def follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._exposition.take(event)
            self._unseen += 1

    def finish(self) -> None:
        self._over.set()

    async def pour(self) -> None:
        seconds = FIRST_PAUSE
        while not self._over.is_set():
            listener = await self._kernel.blocking(_listener, self._sink, self._exposition)
            try:
                await listener.start()
                self._listening = True
                await self._over.wait()
            except OSError as error:
                self.problem = str(error)
                await pause(self._kernel, seconds, self._over)
                seconds = min(2.0 * seconds, LONGEST_PAUSE)
            finally:
                await undisturbed(listener.stop())


def _listener(sink: Prometheus, exposition: Exposition) -> Listener:
    from cirrus.actors.listening import Address, Listener  # noqa: PLC0415  too heavy for a loop
    from cirrus.sinks.metrics_page import metrics_page  # noqa: PLC0415  too heavy for a loop

    address = Address(sink.host, sink.port, exposure=sink.exposure)
    return Listener(metrics_page(exposition, sink.host, sink.exposure), address, most=64)


def prometheus(*, port: int = 9464, host: str = "127.0.0.1", exposure: Exposure = "loopback") -> Prometheus:
    """A sink: the run's newest figures at ``http://host:port/metrics``, from its beginning to the end of its block.

    Whoever reaches the port can read them. Beyond loopback that has to be said by ``exposure="insecure"``.
    """
    checks.integer("port", port, 1, 65_535)
    checks.text("host", host)
    checks.one_of("exposure", exposure, ("loopback", "insecure"))
    if exposure == "loopback" and not checks.is_loopback(host):
        raise PipelineError("host", host, "a loopback address, or exposure='insecure'")
    return Prometheus(port, host, exposure)
