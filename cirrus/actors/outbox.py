"""What waits to be sent over one WebSocket, so that no actor ever waits for a slow peer."""

from __future__ import annotations

import contextlib
from typing import Protocol

from cirrus.actors.mailbox import Mailbox
from cirrus.errors import Closed

ROOM = 4096


class Socket(Protocol):
    """What aiohttp's WebSockets of both sides have in common here."""

    async def send_bytes(self, data: bytes) -> None:
        """Send one binary message."""
        ...

    async def close(self) -> bool:
        """Close the connection."""
        ...


class Peer(Protocol):
    """Where to leave messages for whoever is at the other end of a connection."""

    def put(self, data: bytes) -> None:
        """Leave a message to be sent."""
        ...

    def end(self) -> None:
        """Close the connection behind what is waiting."""
        ...

    def close(self) -> None:
        """Close the connection now."""
        ...


class Outbox:
    """Messages for one peer; ``pump`` sends them. A peer that lets ``ROOM`` of them pile up is cut off."""

    def __init__(self) -> None:
        self._waiting: Mailbox[bytes | None] = Mailbox(ROOM)

    def put(self, data: bytes) -> None:
        """Leave a message to be sent; forgotten once the outbox has ended."""
        if not self._waiting.closed and not self._waiting.put_nowait(data):
            self.close()

    def end(self) -> None:
        """Close the connection behind what is waiting."""
        if not self._waiting.closed and not self._waiting.put_nowait(None):
            self.close()

    def close(self) -> None:
        """Close the connection now; what waits is dropped."""
        self._waiting.close()

    async def pump(self, socket: Socket) -> None:
        """Send until the end; a connection that breaks ends it too."""
        with contextlib.suppress(Closed, ConnectionError):
            while (data := await self._waiting.get()) is not None:
                await socket.send_bytes(data)
        self._waiting.close()
        with contextlib.suppress(ConnectionError):
            await socket.close()
