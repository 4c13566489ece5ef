"""One connection of a worker to one shard: frames out in one message, replies back in order."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
import numpy as np

from cirrus.actors.trust import certain
from cirrus.clock import Clock
from cirrus.core.restarts import Backoff
from cirrus.errors import Closed, Refused, Untrusted, WireError
from cirrus.learn.rows import Floats, Keys
from cirrus.wire import frames
from cirrus.wire.frames import Step
from cirrus.wire.framing import Framing

BACKOFF = Backoff(first=0.05, factor=2.0, most=5.0)
PATIENCE = 10.0
"""Seconds for one attempt to connect."""

HEARTBEAT = 20.0
"""Seconds of silence after which a shard is asked whether it still lives; it has half as long to answer."""

_HEAD = 128  # bytes of an answer beside its rows, at most
_BINARY = aiohttp.WSMsgType.BINARY  # Python 3.11 runs code each time that a member is named
_CLOSE = aiohttp.ClientWSTimeout(ws_close=1.0)


@dataclass(frozen=True, slots=True)
class Dial:
    """How to reach the shards: base URLs in the shards' order, a worker's token, and whose session, clock and chance.

    ``patience``: seconds for which a shard may be away before it is given up. ``leaving``: whether who dials is to
    leave, and waits for no shard.
    """

    urls: tuple[str, ...]
    token: str
    session: aiohttp.ClientSession
    clock: Clock
    chance: np.random.Generator
    patience: float = 60.0
    leaving: Callable[[], bool] = lambda: False


class Link:
    """A connection to a shard; ``numbers`` and ``widths`` are those of the model's tables on it."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, numbers: tuple[int, ...], widths: tuple[int, ...]
    ) -> None:
        self.numbers = numbers
        self.widths = widths
        self._socket = socket
        self._waiting: list[tuple[bytes, int]] = []
        self._replies: deque[frames.Reply] = deque()  # that came in one message with the one before
        self._framing = Framing()

    def add(self, frame: bytes, answer: int = 0) -> None:
        """Keep a frame, to be answered by about ``answer`` bytes, for the next message; ``WireError`` if too large."""
        if max(len(frame), answer + _HEAD) > frames.MAX_MESSAGE:
            raise WireError(f"a frame of {len(frame)} bytes, {answer} in the answer; make minibatches smaller")
        self._waiting.append((frame, answer + _HEAD))

    def add_step(self, step: int, gradients: tuple[Floats, ...] | None, local: tuple[Keys, ...] | None) -> None:
        """Keep a step's frame for the next message; ``WireError`` where it, or its answer, is too large."""
        self.add(self._framing.step(Step(step, self.numbers, gradients, local), self.widths), self.size(local))

    def size(self, local: Sequence[Keys] | None) -> int:
        """Bytes of those rows."""
        if local is None:
            return 0
        if len(local) == 1:
            return 4 * self.widths[0] * len(local[0])
        return sum([4 * width * len(one) for width, one in zip(self.widths, local, strict=True)])

    async def send(self) -> None:
        """Send what was added, as one message where the limits allow."""
        waiting, self._waiting = self._waiting, []
        if len(waiting) == 1:
            await self._socket.send_bytes(waiting[0][0])
            return
        for message in _messages(waiting):
            await self._socket.send_bytes(message)

    def ready(self) -> frames.Reply | None:
        """The next reply, if it came in the same message as the last one."""
        return self._replies.popleft() if self._replies else None

    async def next(self) -> frames.Reply:
        """The next reply; ``Closed`` where the connection ends, ``WireError`` where a reply is broken."""
        reply = self.ready()
        while reply is None:
            message = await self._socket.receive()
            if message.type is not _BINARY:
                raise Closed("the shard has closed the connection")
            self._replies.extend(self._framing.replies(message.data))
            reply = self.ready()
        return reply

    async def close(self) -> None:
        """Close the connection, which may be broken already."""
        await self._socket.close()


def _messages(waiting: list[tuple[bytes, int]]) -> Iterator[bytes]:
    batch: list[bytes] = []
    out = back = 0
    for frame, answer in waiting:
        if max(out + len(frame), back + answer) > frames.MAX_MESSAGE or len(batch) == frames.MAX_FRAMES:
            yield b"".join(batch)
            batch, out, back = [], 0, 0
        batch.append(frame)
        out += len(frame)
        back += answer
    if batch:
        yield b"".join(batch)


async def connect(dial: Dial, tables: Sequence[str]) -> list[Link]:
    """A link to every shard, as soon as each answers and has the tables; ``Closed`` where one is given up."""
    links: list[Link] = []
    deadline = dial.clock.monotonic() + dial.patience
    async with AsyncExitStack() as stack:
        for url in dial.urls:
            link = await _persist(dial, url, tables, deadline)
            stack.push_async_callback(link.close)
            links.append(link)
        stack.pop_all()
    return links


async def _persist(dial: Dial, url: str, tables: Sequence[str], deadline: float) -> Link:
    failures = 0
    while True:
        try:
            with certain(url):
                return await _connect(dial, url, tables)
        except (Refused, Untrusted):
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, WireError) as error:
            if dial.leaving():
                raise Closed("a shard did not answer when it was time to leave") from error
            failures += 1
            pause = BACKOFF.delay(failures, dial.chance.random())
            if dial.clock.monotonic() + pause > deadline:
                raise Closed(f"a shard did not answer for {dial.patience:g} seconds") from error
            await dial.clock.sleep(pause)


async def _connect(dial: Dial, url: str, tables: Sequence[str]) -> Link:
    headers = {"Authorization": f"Bearer {dial.token}"}
    async with asyncio.timeout(PATIENCE):
        async with dial.session.get(f"{url}/tables", headers=headers, allow_redirects=False) as found:
            if found.status in (401, 403):
                raise Refused("the shard does not accept the token")
            found.raise_for_status()
            listed = _listed(await found.read())
        if not all(name in listed for name in tables):
            raise WireError("the shard does not have the tables yet")
        socket = await dial.session.ws_connect(
            f"{url}/steps",
            headers=headers,
            compress=0,
            max_msg_size=frames.MAX_MESSAGE,
            heartbeat=HEARTBEAT,
            timeout=_CLOSE,
        )
    numbers, widths = zip(*[listed[name] for name in tables], strict=True)
    return Link(socket, numbers, widths)


def _listed(body: bytes) -> dict[str, tuple[int, int]]:
    """Number and width of each table of a shard, by name."""
    try:
        return {str(one["name"]): (int(one["number"]), int(one["width"])) for one in json.loads(body)["tables"]}
    except (ValueError, KeyError, TypeError) as error:
        raise WireError("the shard's list of tables cannot be read") from error
