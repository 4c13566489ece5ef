"""The line between the driver and the control actor: whatever a broken connection loses comes with the next, once."""

from __future__ import annotations

from dataclasses import dataclass, field

from cirrus.actors.control import (
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
    Done,
    Expect,
    FromWorker,
    Greeting,
    Hello,
    OpenPool,
    PoolDone,
    ToDriver,
    Took,
    UnitDone,
    WorkerSeen,
)
from cirrus.testing.clock import ManualClock

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
