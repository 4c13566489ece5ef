"""What a request carries, as aiohttp sends it: straight from the caller's memory."""

from __future__ import annotations

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

PIECE = 1 << 16
"""Bytes after which the connection may ask for a pause."""


class Body(Payload):
    """Bytes that are sent as they lie, and again where a connection breaks; aiohttp's own kinds would copy them."""

    _autoclose = True  # there is nothing to close

    def __init__(self, data: bytes | memoryview) -> None:
        view = memoryview(data).cast("B")
        super().__init__(view, content_type="application/octet-stream")
        self._view = view
        self._size = len(view)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The bytes as a text, for whoever looks at requests."""
        return str(self._view, encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        for start in range(0, len(self._view), PIECE):
            await writer.write(self._view[start : start + PIECE])
