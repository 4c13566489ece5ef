"""Orders to a run from other processes: objects in its store, which its driver looks for, obeys and answers.

An order is created once, under a name of its own, and lasts until it is answered: one that nobody has answered when
the driver dies is heard by the next. The driver's answer is another object; then the order is removed. Who can write
below the run's prefix can give orders, so that nothing of them is believed before it is checked.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from cirrus.clock import Clock
from cirrus.errors import Killed, NotFound, OutsideError, PipelineError, WireError
from cirrus.store.base import ObjectStore
from cirrus.wire.codec import Codec

LARGEST = 4096
"""Bytes of an order."""

LARGEST_ANSWER = 16_384

LONGEST_REASON = 1000
"""Characters of the reason for a kill."""

MOST = 100
"""Orders that are heard in one look."""

LOOK = 1.0
"""Seconds between two looks."""

NAME = re.compile(r"[0-9]{15}-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class ScaleOrder:
    """Wish for so many workers of a stage."""

    stage: str
    workers: int


@dataclass(frozen=True, slots=True)
class KillOrder:
    """End the run, or end it because one of its stages is not wanted, or end one trial alone."""

    stage: str | None
    reason: str
    trial: int | None = None


@dataclass(frozen=True, slots=True)
class Heeded:
    """The order is written down, and takes effect."""


@dataclass(frozen=True, slots=True)
class Declined:
    """The order asks for the impossible; the fields of the ``PipelineError`` that says so."""

    field: str
    given: str
    allowed: str


Order = ScaleOrder | KillOrder
Answer = Heeded | Declined
Obey = Callable[[str, Order], Awaitable[None]]
"""Does what the order of that name says; ``PipelineError`` where that is impossible, ``Killed`` once it is a kill."""

ORDERS: Codec[Order] = Codec(Order, LARGEST)
ANSWERS: Codec[Answer] = Codec(Answer, LARGEST_ANSWER)


def order_name(wall: float, chance: str) -> str:
    """The name of an order that is given at ``wall``; ``chance`` is 16 hexadecimal digits. They sort by their time."""
    return f"{int(1000 * wall):015d}-{chance}"


class OrderBox:
    """The orders of one run; those in ``done`` were obeyed under an earlier driver, and need only be answered."""

    def __init__(self, store: ObjectStore, run_id: str, done: Collection[str] = ()) -> None:
        self._store = store
        self._done = set(done)
        self._orders = f"runs/{run_id}/orders/"
        self._answers = f"runs/{run_id}/answers/"

    async def give(self, name: str, order: Order) -> None:
        """Write an order down; it will be heard, if not by this driver, then by the next."""
        await self._store.put_if_absent(f"{self._orders}{name}.json", ORDERS.to_json(order).encode())

    async def withdraw(self, name: str) -> None:
        """Take back an order that need not be heard any more."""
        await self._store.delete(f"{self._orders}{name}.json")

    async def answer_to(self, name: str) -> Answer | None:
        """The driver's answer, which is removed by that; nothing where there is none yet."""
        key = f"{self._answers}{name}.json"
        try:
            data = await self._store.get(key, 0, LARGEST_ANSWER + 1)
        except NotFound:
            return None
        answer = ANSWERS.from_json(str(data, "utf-8", "replace"))
        await self._store.delete(key)
        return answer

    async def answer(self, name: str, answer: Answer) -> None:
        """Answer an order, and remove it."""
        await self._store.put(f"{self._answers}{name}.json", ANSWERS.to_json(answer).encode())
        await self.withdraw(name)

    async def look(self, obey: Obey) -> None:
        """Obey what was ordered, the oldest first, and answer; what is no order is refused and removed."""
        for key in await self._keys():
            name = key.removeprefix(self._orders).removesuffix(".json")
            if not NAME.fullmatch(name):
                await self._store.delete(key)
            elif name in self._done:
                await self.answer(name, Heeded())
            else:
                await self._hear(key, name, obey)

    async def _keys(self) -> list[str]:
        keys: list[str] = []
        async for info in self._store.list(self._orders):
            keys.append(info.key)
            if len(keys) == MOST:
                break
        return keys

    async def _hear(self, key: str, name: str, obey: Obey) -> None:
        try:
            data = await self._store.get(key, 0, LARGEST + 1)
        except NotFound:
            return  # withdrawn meanwhile
        try:
            await obey(name, _checked(data))
        except PipelineError as error:
            await self.answer(name, Declined(error.field, str(error.given)[:200], error.allowed[:1000]))
        except Killed:
            with contextlib.suppress(OutsideError):  # it is written down, and holds whether it is answered or not
                await self.answer(name, Heeded())
            raise
        else:
            self._done.add(name)  # should the answer fail, it is not obeyed again
            await self.answer(name, Heeded())


async def heed(box: OrderBox, obey: Obey, clock: Clock) -> None:
    """Look for orders from time to time, for ever; while the store fails they wait. ``Killed`` by a kill."""
    while True:
        await clock.sleep(LOOK)
        with contextlib.suppress(OutsideError):
            await box.look(obey)


def _checked(data: bytes) -> Order:
    """The order of these bytes; ``PipelineError``."""
    try:
        order = ORDERS.from_json(str(data, "utf-8"))
    except (WireError, UnicodeDecodeError) as error:
        raise PipelineError("order", "bytes that are none", f"a scale or a kill: {error}") from error
    if isinstance(order, KillOrder) and len(order.reason) > LONGEST_REASON:
        raise PipelineError("reason", order.reason[:20], f"a text of at most {LONGEST_REASON} characters")
    return order
