"""A page on a port of its own, for as long as a block lasts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from cirrus import checks
from cirrus.actors.kernel import undisturbed
from cirrus.actors.listening import Address, Listener
from cirrus.page.app import DOOR, dashboard
from cirrus.page.door import Door
from cirrus.watching import Watched

MOST = 1024
"""Connections at a time."""


@dataclass(frozen=True, slots=True)
class Served:
    """Where a page is."""

    url: str
    door: Door

    def address(self) -> str:
        """What a person opens, once: the code behind ``#`` never leaves the browser but in the body of a request."""
        return f"{self.url}#{self.door.code()}"


@asynccontextmanager
async def served(run: Watched, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[Served]:
    """Serve the page of a run; port 0 is any that is free. ``OSError`` where the port is not to be had."""
    checks.integer("port", port, 0, 65_535)
    where = Address(host, port)
    app = dashboard(run)
    listener = Listener(app, where, most=MOST)
    try:
        found = await listener.start()
        name = f"[{host}]" if ":" in host else host
        yield Served(f"http://{name}:{found}/", app[DOOR])
    finally:
        await undisturbed(listener.stop())
