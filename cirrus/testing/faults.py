"""What may happen to the bytes of one direction of a connection, and what then becomes of each piece: no sockets here.

Positions count the bytes behind the head of a request or of its answer (behind the first empty line), so that ``at=0``
of a WebSocket is the first byte of its first frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal, TypeVar, assert_never

import numpy as np

Way = Literal["up", "down"]
"""``up``: what the client sends. ``down``: what it is answered."""

PIECE = 4096
"""Bytes that ``Slow`` lets through at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Every piece from byte ``at`` on arrives ``seconds`` later."""

    way: Way
    seconds: float
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """From byte ``at`` on, ``rate`` bytes a second arrive."""

    way: Way
    rate: float
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Nothing from byte ``at`` on arrives, and nobody is told: half of the connection is dead."""

    way: Way
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """When byte ``at`` comes, both sides see the connection reset; that byte and those behind it are lost.

    Downwards this swallows an answer to something that was surely done.
    """

    way: Way
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """When byte ``at`` comes, both sides see the connection end as if it had been closed in good order."""

    way: Way
    at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Bit ``bit`` of byte ``at`` is flipped."""

    way: Way
    at: int = 0
    bit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Up to ``size`` bytes from byte ``at`` on arrive twice."""

    way: Way
    at: int = 0
    size: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """When byte ``at`` comes, and before it is passed on, ``call`` is called; it may kill somebody."""

    way: Way
    call: Callable[[], object]
    at: int = 0


Fault = Delay | Slow | Drop | Reset | Truncate | Flip | Repeat | Call

Plan = Callable[[str], Sequence[Fault]]
"""Says what is to happen to the next request, which asks for that path, and its answer."""


@dataclass(frozen=True, slots=True)
class Pass:
    """Pass these bytes on."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for so many seconds before anything else is passed on."""

    seconds: float


@dataclass(frozen=True, slots=True)
class End:
    """End both sides of the connection: ``reset``, or in good order."""

    reset: bool


Deed = Pass | Wait | End


class Stream:
    """One direction of a connection under its faults: bytes in, deeds out."""

    def __init__(self, way: Way, faults: Sequence[Fault] = ()) -> None:
        self._way = way
        self.begin(faults)

    def begin(self, faults: Sequence[Fault]) -> None:
        """Another request begins, with faults of its own."""
        way = self._way
        self._faults = sorted((one for one in faults if one.way == way), key=lambda one: one.at)
        self._head = b""  # the last bytes of the head, until it has ended
        self._headed = False
        self._at = 0
        self._delay = 0.0
        self._rate = 0.0
        self._dropping = False
        self._over = False

    def feed(self, data: bytes) -> tuple[Deed, ...]:
        """What to do, in this order, since these bytes have come."""
        return tuple(self._deeds(data))

    def _deeds(self, data: bytes) -> Iterator[Deed]:
        if not self._headed:
            size = self._head_in(data)
            if size:
                yield Pass(data[:size])
            data = data[size:]
        while data and not self._over:
            size = len(data)
            if self._faults:
                size = min(size, self._faults[0].at - self._at)
            if size:
                yield from self._passed(data[:size])
                self._at += size
                data = data[size:]
                continue
            fault = self._faults.pop(0)
            yield from self._strike(fault, data)
            if isinstance(fault, Flip):
                data = bytes((data[0] ^ (1 << fault.bit), *data[1:]))

    def _head_in(self, data: bytes) -> int:
        """How many of these bytes belong to the head."""
        seen = self._head + data
        end = seen.find(b"\r\n\r\n")
        if end < 0:
            self._head = seen[-3:]
            return len(data)
        self._headed = True
        return end + 4 - len(self._head)

    def _passed(self, data: bytes) -> Iterator[Deed]:
        if self._dropping:
            return
        if self._delay:
            yield Wait(self._delay)
        if not self._rate:
            yield Pass(data)
            return
        for start in range(0, len(data), PIECE):
            piece = data[start : start + PIECE]
            yield Wait(len(piece) / self._rate)
            yield Pass(piece)

    def _strike(self, fault: Fault, data: bytes) -> Iterator[Deed]:
        """The fault's time has come: ``data`` begins with its byte."""
        match fault:
            case Delay(seconds=seconds):
                self._delay = seconds
            case Slow(rate=rate):
                self._rate = rate
            case Drop():
                self._dropping = True
            case Reset() | Truncate():
                self._over = True
                yield End(isinstance(fault, Reset))
            case Repeat(size=size):
                yield from self._passed(data[:size])
            case Call(call=call):
                call()
            case Flip():
                pass  # the bytes themselves change
            case _:
                assert_never(fault)


def sound(_path: str) -> Sequence[Fault]:
    """The plan by which nothing happens."""
    return ()


def on(path: str, *rounds: Sequence[Fault]) -> Plan:
    """The first request for ``path`` gets the first round of faults, and so on; to all others nothing happens."""
    waiting = iter(rounds)
    return lambda asked: next(waiting, ()) if asked == path else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Faults by chance, the same for the same ``seed``: each request for ``path`` meets one of ``kinds``.

    It comes after a number of bytes that is drawn anew each time, ``mean`` of them on average.
    """

    seed: int
    path: str
    kinds: Sequence[Literal["reset", "truncate", "flip", "repeat", "swallow"]]
    mean: float

    def plan(self) -> Plan:
        """The plan, from its beginning."""
        numbers = count()

        def drawn(path: str) -> Sequence[Fault]:
            if path != self.path:
                return ()
            chance = np.random.default_rng((self.seed, next(numbers)))
            return (_drawn(chance, self.kinds, int(chance.exponential(self.mean))),)

        return drawn


T = TypeVar("T")


def _picked(chance: np.random.Generator, among: Sequence[T]) -> T:
    return among[int(chance.integers(len(among)))]


def _drawn(chance: np.random.Generator, kinds: Sequence[str], at: int) -> Fault:
    ways: tuple[Way, ...] = ("up", "down")
    way = _picked(chance, ways)
    match _picked(chance, kinds):
        case "reset":
            return Reset(way=way, at=at)
        case "truncate":
            return Truncate(way=way, at=at)
        case "flip":
            return Flip(way=way, at=at, bit=int(chance.integers(8)))
        case "repeat":
            return Repeat(way=way, at=at, size=int(chance.integers(1, 2000)))
        case "swallow":
            return Reset(way="down", at=at)
        case other:
            raise AssertionError(f"no kind of fault is called {other}")
