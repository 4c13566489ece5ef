"""A server of a test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from cirrus.actors.listening import Address, Listener


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Its URL, while the block runs."""
    listener = Listener(app, Address())
    port = await listener.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await listener.stop()
