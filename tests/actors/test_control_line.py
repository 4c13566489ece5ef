"""The line between the driver and the control actor: whatever a broken connection loses comes with the next, once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cirrus.actors.control import (
    FROM_DRIVER,
    FROM_WORKER,
    TO_DRIVER,
    Control,
    ControlMessage,
    DriverCame,
    DriverGone,
    DriverSpoke,
    TimePasses,
    WorkerSpoke,
)
from cirrus.core.ids import WorkerId
from cirrus.core.messages import (
    Ask,
    Bye,
    Done,
    Expect,
    FromWorker,
    Greeting,
    Hello,
    Objected,
    OpenPool,
    PoolDone,
    ToDriver,
    Took,
    UnitDone,
    WorkerSeen,
)
from cirrus.errors import WireError
from cirrus.testing.clock import ManualClock
from cirrus.wire.codec import LARGEST

WORKER = WorkerId("train", 0, 1)
POOL = OpenPool("train", "work", 1, 4, 30.0)


@dataclass
class Connection:
    """The control actor's end of a connection: what is left there."""

    sent: list[bytes] = field(default_factory=list)
    closed: bool = False

    def put(self, data: bytes) -> None:
        self.sent.append(data)

    def end(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def said(self) -> list[ToDriver]:
        return [TO_DRIVER.decode(data) for data in self.sent]


async def controlled(*messages: ControlMessage) -> Control:
    control = Control("first", ManualClock(), lambda: None)
    for message in messages:
        await control.receive(message)
    return control


async def speak(control: Control, outbox: Connection, *messages: FromWorker) -> None:
    for message in messages:
        assert FROM_WORKER.decode(FROM_WORKER.encode(message)) == message
        await control.receive(WorkerSpoke(WORKER, outbox, message))


async def test_reports_that_a_broken_connection_lost_are_told_again() -> None:
    first, second, worker = Connection(), Connection(), Connection()
    control = await controlled(
        DriverCame(first), DriverSpoke(first, Took(0)), DriverSpoke(first, POOL), DriverSpoke(first, Expect(WORKER))
    )
    await speak(control, worker, Hello(7), Ask(1), Done(0, 1, 5))
    done = UnitDone("train", 0, 1, 5, "", {})
    assert first.said() == [Greeting("first"), WorkerSeen(WORKER, 7), done, PoolDone("train")]
    await control.receive(DriverGone(first))  # when the driver has read no more than one of them
    await control.receive(DriverCame(second))
    assert second.said() == [Greeting("first", took=2)]
    await control.receive(DriverSpoke(second, Took(1)))
    assert second.said()[1:] == [done, PoolDone("train")]


async def test_orders_of_an_older_connection_are_not_taken_in_behind_a_newer_one() -> None:
    first, second = Connection(), Connection()
    control = await controlled(DriverCame(first), DriverSpoke(first, Took(0)), DriverCame(second))
    assert first.closed
    await control.receive(DriverSpoke(first, POOL))
    await control.receive(DriverSpoke(second, POOL))  # before its first word
    await control.receive(DriverSpoke(second, Took(0)))
    await control.receive(TimePasses())
    assert second.said() == [Greeting("first", took=0)]


async def test_the_driver_is_told_how_many_of_its_orders_were_taken_in() -> None:
    driver = Connection()
    control = await controlled(DriverCame(driver), DriverSpoke(driver, Took(0)), DriverSpoke(driver, POOL))
    for _ in range(2):
        await control.receive(TimePasses())
    assert driver.said() == [Greeting("first"), Took(1)]


@pytest.mark.parametrize(
    "words",
    [lambda text: Done(0, 1, 5, text), lambda text: Bye("failed", text), lambda text: Objected("a", text, 1, "b")],
)
async def test_the_longest_words_of_a_worker_can_be_reported(words: Callable[[str], FromWorker]) -> None:
    driver, worker = Connection(), Connection()
    control = await controlled(
        DriverCame(driver), DriverSpoke(driver, Took(0)), DriverSpoke(driver, POOL), DriverSpoke(driver, Expect(WORKER))
    )
    text = "x" * (LARGEST - len(FROM_WORKER.encode(words(""))) - 2)  # of a long text, the head has two bytes more
    assert len(FROM_WORKER.encode(words(text))) == LARGEST
    await speak(control, worker, Hello(7), Ask(1), words(text))
    assert text in repr(driver.said()[2])


@pytest.mark.parametrize("field", ["staleness", "timeout", "first", "floor"])
def test_a_pool_that_cannot_be_is_refused_where_it_is_read(field: str) -> None:
    plain = FROM_DRIVER.to_plain(POOL)
    with pytest.raises(WireError):
        FROM_DRIVER.from_plain({**plain, field: -1})


@pytest.mark.parametrize("count", [-1, 2**63])
def test_nobody_asks_for_so_many_leases(count: int) -> None:
    with pytest.raises(WireError):
        FROM_WORKER.from_plain({"type": "Ask", "count": count})
