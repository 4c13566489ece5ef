"""Workers, the control actor and a driver over real sockets: who may stay, who is sent away, and who goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from cirrus.actors.actor import Ref
from cirrus.actors.control import Control
from cirrus.actors.jobs import Bench
from cirrus.actors.kernel import Kernel, Task
from cirrus.actors.orders import Address, Orders
from cirrus.actors.reception import Reception
from cirrus.actors.worker import Worker
from cirrus.cloud.base import Assignment
from cirrus.core.ids import WorkerId
from cirrus.core.messages import (
    Back,
    Beat,
    Bye,
    ClosePool,
    Dismissed,
    Done,
    Drain,
    Expect,
    Fence,
    FromDriver,
    Greeting,
    Lease,
    OpenPool,
    PoolDone,
    Pulse,
    ToDriver,
    Took,
    TurnedAway,
    UnitDone,
    WorkerLeft,
    WorkerSeen,
)
from tests.actors.shards import CLOCK, cluster, token

WITHIN = 1.0
"""Seconds in which a worker that is not wanted leaves."""

FIRST, SECOND = WorkerId("train", 0, 1), WorkerId("train", 1, 1)


@dataclass
class Waiting:
    """A job that does each unit as soon as ``go`` is set."""

    bench: Bench
    go: asyncio.Event
    did: list[int]
    holds: int = 1

    def expect(self, lease: Lease) -> None:
        pass

    async def do(self, lease: Lease) -> Done | Back:
        while not self.go.is_set():
            await asyncio.sleep(0.01)
            if self.bench.standing.leaving is not None:
                return Back(lease.unit, lease.lease)
        if lease.unit in self.did:
            raise ValueError(f"unit {lease.unit} was done before")
        self.did.append(lease.unit)
        return Done(lease.unit, lease.lease, 1)

    def beat(self) -> Beat:
        return Beat(1)

    async def close(self) -> None:
        pass


@dataclass
class Ground:
    """A control actor, the driver's line to it, and workers."""

    kernel: Kernel
    url: str
    store: str
    told: asyncio.Queue[ToDriver] = field(default_factory=asyncio.Queue)
    orders: list[Ref[FromDriver]] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    did: list[int] = field(default_factory=list)

    async def order(self, *messages: FromDriver) -> None:
        for message in messages:
            await self.orders[0].send(message)

    def worker(self, who: WorkerId, timeout: float = 60.0) -> tuple[Worker, Task[Bye | None]]:
        """A worker that has begun its life."""
        bearer = token("worker", slot=who.slot, attempt=who.attempt)
        assignment = Assignment("clicks", 2, who, "train", (self.url,), self.store, bearer, 600, timeout)

        async def open_job(bench: Bench, work: str) -> Waiting:
            assert work == "the/work"
            return Waiting(bench, self.go, self.did)

        worker = Worker(assignment, CLOCK, open_job)
        return worker, self.kernel.task(worker.run(), name=f"{who}")

    async def heard(self) -> ToDriver:
        """What the driver is told next, pulses and counts of its own orders left out."""
        while isinstance(message := await self.told.get(), Pulse | Took):
            pass
        return replace(message, pid=0) if isinstance(message, WorkerSeen) else message

    async def farewell(self) -> ToDriver:
        """The same of a goodbye, which says how many seconds the worker took."""
        message = await self.heard()
        assert isinstance(message, WorkerLeft)
        assert message.seconds is not None
        assert message.seconds >= 0
        return replace(message, seconds=None)

    async def left(self, task: Task[Bye | None]) -> None:
        """The worker ends by itself, and soon."""
        await self.kernel.within(WITHIN, task.wait())

    async def finish(self) -> list[ToDriver]:
        """Let all units be done; what the driver is told of that."""
        self.go.set()
        told = [await self.heard()]
        while not isinstance(told[-1], PoolDone):
            told.append(await self.heard())
        return told


@pytest.fixture
async def ground(tmp_path: Path) -> AsyncIterator[Ground]:
    """A pool of three units, whose slots 0 and 1 are to be filled by first attempts."""
    async with Kernel(CLOCK) as outer:
        reception = Reception(outer, outer.spawn(Control("first", CLOCK, lambda: None), name="control"))
        outer.task(reception.tick(), name="tick")
        async with cluster(parts=lambda: (reception,)) as found, Kernel(CLOCK) as kernel:
            made = Ground(kernel, found.urls[0], tmp_path.as_uri())
            address = Address(made.url, token("driver"))
            made.orders.append(kernel.spawn(Orders(kernel, found.session, address, made.told.put), name="orders"))
            assert await made.heard() == Greeting("first")
            await made.order(Took(0), OpenPool("train", "the/work", 3, 10, 30.0), Expect(FIRST), Expect(SECOND))
            yield made


def units(told: list[ToDriver]) -> list[int]:
    return [one.unit for one in told if isinstance(one, UnitDone)]


async def test_a_second_delivery_of_a_worker_leaves_within_a_second_and_is_told_of(ground: Ground) -> None:
    _, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    for _ in range(3):
        _, again = ground.worker(FIRST)
        await ground.left(again)
        assert await ground.heard() == TurnedAway(FIRST)
    assert not first.done
    told = await ground.finish()
    assert units(told) == ground.did == [0, 1, 2]
    assert [type(one) for one in told] == [UnitDone, UnitDone, UnitDone, PoolDone], "nobody else was seen, or left"


@pytest.mark.parametrize("stranger", [WorkerId("train", 0, 2), WorkerId("train", 7, 1)], ids=["attempt", "slot"])
async def test_whoever_is_not_expected_leaves_within_a_second(ground: Ground, stranger: WorkerId) -> None:
    _, task = ground.worker(stranger)
    await ground.left(task)
    assert await ground.heard() == Dismissed(stranger)
    ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)


async def test_a_worker_that_is_fenced_leaves_and_its_successor_gets_what_it_held(ground: Ground) -> None:
    _, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    successor = WorkerId("train", 0, 2)
    await ground.order(Fence(FIRST, "another attempt fills this slot"), Expect(successor))
    assert await ground.farewell() == WorkerLeft(FIRST, "lost", "another attempt fills this slot")
    await ground.left(first)
    _, again = ground.worker(FIRST)
    await ground.left(again)
    assert await ground.heard() == Dismissed(FIRST)
    ground.worker(successor)
    assert await ground.heard() == WorkerSeen(successor, 0)
    assert units(await ground.finish()) == [0, 1, 2]


async def test_a_worker_that_is_drained_hands_back_what_it_holds(ground: Ground) -> None:
    _, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    await ground.order(Drain(FIRST, "the pool is getting smaller"))
    assert await ground.farewell() == WorkerLeft(FIRST, "drained", "the pool is getting smaller")
    await ground.left(first)
    ground.worker(SECOND)
    assert await ground.heard() == WorkerSeen(SECOND, 0)
    assert units(await ground.finish()) == [0, 1, 2]


async def test_a_worker_whose_time_is_nearly_up_hands_back_and_says_so(ground: Ground) -> None:
    _, first = ground.worker(FIRST, timeout=1.0)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    assert await ground.farewell() == WorkerLeft(FIRST, "deadline", "its time is nearly up")
    await ground.left(first)
    ground.worker(SECOND)
    assert await ground.heard() == WorkerSeen(SECOND, 0)
    assert units(await ground.finish()) == [0, 1, 2]


async def test_a_worker_that_is_told_to_end_by_its_host_hands_back_and_says_why(ground: Ground) -> None:
    worker, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    worker.leave("drained", "the process that started it is gone")
    assert await ground.farewell() == WorkerLeft(FIRST, "drained", "the process that started it is gone")
    await ground.left(first)


async def test_what_a_worker_held_whose_connection_is_gone_goes_to_another(ground: Ground) -> None:
    _, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    ground.worker(SECOND)
    assert await ground.heard() == WorkerSeen(SECOND, 0)
    await first.cancel()
    assert await ground.heard() == WorkerLeft(FIRST, "lost", "the connection is gone")
    assert sorted(units(await ground.finish())) == sorted(ground.did) == [0, 1, 2]


async def test_a_job_that_fails_ends_its_worker_with_the_traceback(ground: Ground) -> None:
    ground.did.append(0)  # it refuses to do a unit twice
    ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    ground.go.set()
    said = await ground.heard()
    assert isinstance(said, WorkerLeft)
    assert said.kind == "failed"
    assert said.detail.endswith("ValueError: unit 0 was done before\n")


async def test_workers_leave_when_their_pool_is_closed(ground: Ground) -> None:
    _, first = ground.worker(FIRST)
    assert await ground.heard() == WorkerSeen(FIRST, 0)
    await ground.order(ClosePool("train"))
    assert await ground.farewell() == WorkerLeft(FIRST, "lost", "the work is done")
    await ground.left(first)
    _, late = ground.worker(SECOND)
    await ground.left(late)
    assert await ground.heard() == Dismissed(SECOND)
