"""A worker's WebSocket at the shard: each message is answered where it arrives, without waking a task for it.

aiohttp puts messages in a queue and wakes the task that waits for them; that costs as much as the step. A queue that
answers instead is put in the place of aiohttp's own when a connection is made. This is not an interface that aiohttp
promises: where anything about it looks other than expected, the task does all the work, as it does in any case for
what is not a plain step: pings, the end of a connection, and peers that are slow to read.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.http import WebSocketReader, WebSocketWriter
from aiohttp.http_websocket import WSMessage

from cirrus.errors import WireError
from cirrus.wire.frames import MAX_MESSAGE

try:
    from aiohttp._websocket.reader import WebSocketDataQueue as _Queue
except ImportError:  # it has moved: no socket will fit
    _Queue = object  # type: ignore[assignment, misc]

WRITE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
BUFFERED = 64 * 1024
"""Bytes waiting to be sent from which on sending is watched by a deadline."""

LIMIT = 64 * 1024
JOINED = 64 * 1024
"""Bytes up to which answers are cheaper to copy into one than to send as several."""

_BINARY = WSMsgType.BINARY  # Python 3.11 runs code each time that a member is named
_FINAL_BINARY = 0x82
_SMALL = struct.Struct("!BB")
_MIDDLE = struct.Struct("!BBH")
_LARGE = struct.Struct("!BBQ")


class StepSocket(web.WebSocketResponse):
    """Answers each binary message by what ``handle`` returns; ``serve`` ends with the connection, or raises."""

    def __init__(self, handle: Callable[[bytes], bytes]) -> None:
        super().__init__(compress=False, max_msg_size=MAX_MESSAGE, timeout=CLOSE_SECONDS)
        self.handle = handle
        self.failure: Exception | None = None
        self.on_arrival = False
        self.waiting = 0  # messages that are the task's to answer, with which those that come later must not catch up

    async def serve(self, transport: asyncio.Transport | None) -> None:
        """Answer what is not answered where it arrives; ``WireError`` and what ``handle`` raises end it."""
        while transport is not None:
            message = await self.receive()
            if self.failure is not None:
                raise self.failure
            if message.type is not WSMsgType.BINARY:
                if message.type in (WSMsgType.TEXT, WSMsgType.ERROR):
                    raise WireError("only binary messages are understood")
                return
            reply = self.handle(message.data)
            if len(reply) + transport.get_write_buffer_size() > BUFFERED:
                async with asyncio.timeout(WRITE_SECONDS):
                    await self.send_bytes(reply)
            else:
                await self.send_bytes(reply)
            self.waiting -= 1

    def _post_start(self, request: web.BaseRequest, protocol: str | None, writer: WebSocketWriter) -> None:
        """Make the connection, as aiohttp does, and put the other queue in the place of its own."""
        early = getattr(request.protocol, "_message_tail", None)
        super()._post_start(request, protocol, writer)
        if early == b"" and request.transport is not None and self._fits(request.protocol):
            self._reader = _Answering(self, request, request.transport)
            self._parser = _Flushing(self._reader)
            request.protocol._payload_parser = None  # noqa: SLF001  of which it would have made sure first
            request.protocol.set_parser(self._parser)
            self.on_arrival = True

    def _fits(self, protocol: web.RequestHandler) -> bool:
        """Whether aiohttp looks inside as it did when this was written."""
        parser = getattr(self, "_parser", None)
        same = parser is not None and parser is getattr(protocol, "_payload_parser", None)
        return same and type(getattr(self, "_reader", None)) is _Queue


class _Answering(_Queue):
    """Their queue, save that what can be answered at once never enters it; ``flush`` sends the answers together."""

    def __init__(self, socket: StepSocket, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        super().__init__(request.protocol, LIMIT, loop=asyncio.get_running_loop())
        self._socket = socket
        self._transport = transport
        self._answers: list[bytes] = []
        self._held = 0

    def feed_data(self, data: Any, size: int) -> None:
        """Called with each message; an exception would be lost, so the task gets it instead."""
        socket = self._socket
        if data[0] is not _BINARY or socket.closed or socket.failure is not None:
            super().feed_data(data, size)
            return
        if socket.waiting or self._held + self._transport.get_write_buffer_size() > BUFFERED:
            socket.waiting += 1
            super().feed_data(data, size)
            return
        try:
            answer = socket.handle(data[1])
        except Exception as error:  # noqa: BLE001  whatever it is, the task ends by it
            socket.failure = error
            super().feed_data(WSMessage(WSMsgType.ERROR, error, None), 0)
            return
        self._answers += (_head(len(answer)), answer)
        self._held += len(answer)

    def flush(self) -> None:
        """Send what was answered since the last time."""
        if self._held > JOINED:
            self._transport.writelines(self._answers)
        elif self._answers:
            self._transport.write(b"".join(self._answers))
        self._answers.clear()
        self._held = 0


class _Flushing(WebSocketReader):
    """Their parser, which tells the queue when it has fed it all of what was received together."""

    def __init__(self, queue: _Answering) -> None:
        super().__init__(queue, MAX_MESSAGE, compress=False, decode_text=True)
        self._answering = queue

    def feed_data(self, data: bytes | bytearray | memoryview) -> tuple[bool, bytes]:
        """Called with each piece that was received."""
        found = super().feed_data(data)
        self._answering.flush()
        return found


def _head(size: int) -> bytes:
    """What precedes a whole binary message from a server, which is not masked."""
    if size <= 125:
        return _SMALL.pack(_FINAL_BINARY, size)
    if size < 65536:
        return _MIDDLE.pack(_FINAL_BINARY, 126, size)
    return _LARGE.pack(_FINAL_BINARY, 127, size)
