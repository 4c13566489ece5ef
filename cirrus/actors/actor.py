"""What actors are to each other: typed messages, the answers to some of them, and a reference to send them to.

    @dataclass(frozen=True, slots=True)
    class Add(Request[int]):
        number: int

    class Adder(Actor[Add]):
        def __init__(self) -> None:
            self.sum = 0

        async def receive(self, message: Add) -> int:
            self.sum += message.number
            return self.sum

    async with Kernel(SystemClock()) as kernel:
        adder = kernel.spawn(Adder(), name="adder")
        total = await adder.ask(Add(2))  # an int, for the type checker too

The envelope is apart from the message: whether a message is told or asked is the sender's choice.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from cirrus.actors.mailbox import Mailbox, latest_key
from cirrus.errors import Closed

M = TypeVar("M")
M_contra = TypeVar("M_contra", contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Request(Generic[R_co]):
    """The base of messages that want an answer of type ``R``: frozen dataclasses derived from ``Request[R]``."""

    __slots__ = ()


class Promise(Generic[R]):
    """An answer that comes later: an actor returns it from ``receive``, goes on, and settles it when it can.

    One promise may answer any number of asks. Those that wait when the actor ends get ``Closed``.
    """

    __slots__ = ("_replies", "_settle")

    def __init__(self) -> None:
        self._settle: Callable[[asyncio.Future[object]], None] | None = None
        self._replies: list[asyncio.Future[object]] = []

    @property
    def settled(self) -> bool:
        """Whether the answer is there."""
        return self._settle is not None

    def keep(self, value: R) -> None:
        """Answer with ``value``; only the first of all calls counts."""
        self._finish(lambda reply: reply.set_result(value))

    def refuse(self, error: Exception) -> None:
        """Raise ``error`` in those who ask; only the first of all calls counts."""
        self._finish(lambda reply: reply.set_exception(error))

    def attach(self, reply: asyncio.Future[object]) -> None:
        """Answer this ask as well; called by the kernel."""
        if self._settle is None:
            self._replies.append(reply)
        elif not reply.done():
            self._settle(reply)

    def _finish(self, settle: Callable[[asyncio.Future[object]], None]) -> None:
        if self._settle is not None:
            return
        self._settle = settle
        for reply in self._replies:
            if not reply.done():
                settle(reply)
        self._replies.clear()


@dataclass(frozen=True, slots=True, eq=False)
class Envelope(Generic[M]):
    """A message under way, and where its answer goes if it is asked."""

    message: M
    reply: asyncio.Future[object] | None = None

    def refuse(self, error: Exception) -> None:
        """End the wait of the asker."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_exception(error)


def envelope_key(envelope: Envelope[Any]) -> Hashable | None:
    """The latest-wins key of a message that was told; one that is asked is never replaced."""
    return latest_key(envelope.message) if envelope.reply is None else None


class Limit(Protocol):
    """Awaits a coroutine for a limited time; the kernel's ``within``."""

    def __call__(self, seconds: float, work: Coroutine[Any, Any, R], /) -> Coroutine[Any, Any, R]:
        """``TimeoutError`` when the time is over."""
        ...


class Ref(Generic[M_contra]):
    """Where to send messages for one actor; it stays good when the actor is made again after a failure."""

    __slots__ = ("_limit", "_mailbox", "name")

    def __init__(self, name: str, mailbox: Mailbox[Envelope[M_contra]], limit: Limit) -> None:
        self.name = name
        self._mailbox = mailbox
        self._limit = limit

    def __repr__(self) -> str:
        return f"<Ref {self.name!r}{' closed' if self.closed else ''}>"

    @property
    def closed(self) -> bool:
        """Whether the actor has stopped for good."""
        return self._mailbox.closed

    def tell(self, message: M_contra) -> bool:
        """Leave a message without waiting; False: it was not taken, because the mailbox is full or the actor stopped.

        It never raises, so that callbacks and endings may use it. What must arrive goes by ``send``.
        """
        return not self._mailbox.closed and self._mailbox.put_nowait(Envelope(message))

    async def send(self, message: M_contra) -> None:
        """Leave a message, waiting for room; ``Closed`` once the actor has stopped."""
        await self._mailbox.put(Envelope(message))

    async def ask(self, request: Request[R], within: float | None = None) -> R:
        """Send a request and wait for its answer, at most ``within`` seconds (``TimeoutError``).

        A ``CirrusError`` that the actor raises about the request is raised here. ``Closed``: the actor stopped, or
        failed, before it answered; the failure is its cause. A request whose asker has gone is still handled.
        """
        if within is not None:
            return await self._limit(within, self.ask(request))
        reply: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        await self._mailbox.put(Envelope(cast("M_contra", request), reply))
        return cast("R", await reply)


class Actor(ABC, Generic[M]):
    """Something that handles one message at a time; its state is its own.

    A ``CirrusError`` raised about a message that was asked is the asker's and the actor goes on. Every other
    exception is a failure of the actor: it ends, and its owner decides what happens then.
    """

    @abstractmethod
    async def receive(self, message: M) -> object:
        """Handle a message. What it returns answers an ask; a ``Promise`` answers it later."""

    async def started(self, ref: Ref[M]) -> None:
        """Get ready; called before the first message, with the reference to itself."""

    async def stopped(self) -> None:
        """Put away what it holds; called once after the last message, also after a failure. It must end by itself."""


def stopped_error(name: str, cause: BaseException | None) -> Closed:
    """What those hear who wait for an actor that has stopped, or failed of ``cause``."""
    error = Closed(f"actor {name!r} has stopped" if cause is None else f"actor {name!r} failed: {cause!r}")
    error.__cause__ = cause
    return error
