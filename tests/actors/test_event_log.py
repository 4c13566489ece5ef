"""The log of a run's events: its parts, its numbers, what is thinned out, what a store may do to it."""

import pytest

from cirrus.actors.bus import EventBus, curve
from cirrus.actors.event_log import FULL, POINTS, EventLog, part_key, steps_said
from cirrus.actors.following import Pages
from cirrus.errors import Corrupt, StoreError
from cirrus.events import Event, LossReported, RunFinished, StageProgress, StageResumed, WorkerReplaced
from cirrus.store.base import ObjectStore
from cirrus.store.memory import MemoryStore
from cirrus.testing.stores import MeddledStore, Request

END = RunFinished(at=9.0, outcome="done", reason="", dollars=0.0)
NAN = float("nan")


def progress(done: int, stage: str = "train") -> StageProgress:
    return StageProgress(at=0.1 * done, stage=stage, done=done, total=0, rows=100 * done)


def replaced(slot: int, reason: str = "SIGKILL") -> WorkerReplaced:
    return WorkerReplaced(at=1.0, stage="train", slot=slot, attempt=2, reason=reason)


async def read(store: ObjectStore) -> list[Event]:
    pages, found = Pages(store, "a"), list[Event]()
    while events := await pages.more():
        found += events
    return found


async def test_a_long_log_has_parts_and_is_read_in_order() -> None:
    store, bus = MemoryStore(), EventBus()
    log, said = EventLog(store, "a", 1, bus), list[Event]()
    for number in range(3000):
        said.append(replaced(number))
        bus.publish(said[-1])
        if number % 7 == 0:
            await log.write()
    await log.close(END)
    sizes = [info.size async for info in store.list("runs/a/events/")]
    assert len(sizes) > 3
    assert all(FULL <= size < FULL + 1000 for size in sizes[:-1])
    assert await read(store) == [*said, END]


async def test_one_write_may_be_longer_than_what_is_read_at_once() -> None:
    store, bus = MemoryStore(), EventBus()
    log = EventLog(store, "a", 1, bus)
    said: list[Event] = [replaced(number, "x" * 20_000) for number in range(20)]
    for event in said:
        bus.publish(event)
    await log.write()
    await log.close(END)
    assert await read(store) == [*said, END]


async def test_points_are_thinned_out_and_nothing_else() -> None:
    store, bus = MemoryStore(), EventBus()
    log = EventLog(store, "a", 1, bus)
    others = 0
    for number in range(POINTS + 500):
        bus.publish(progress(number))
        if number % 10 == 0:
            bus.publish(replaced(number))
            others += 1
        if number % 50 == 49:
            await log.write()
    await log.close(END)
    found = await read(store)
    points = [one.done for one in found if isinstance(one, StageProgress)]
    assert points[:POINTS] == list(range(POINTS))
    assert points[POINTS:] == [one for one in range(POINTS, POINTS + 500) if one % 50 == 49 or one == POINTS + 499]
    assert sum(curve(one) is None for one in found) == others + 1


async def test_what_is_not_a_number_comes_back_and_what_is_too_long_is_left_out() -> None:
    store, bus = MemoryStore(), EventBus()
    log = EventLog(store, "a", 1, bus)
    bus.publish(
        LossReported(at=0.0, stage="t", loss=NAN, auc=0.5, accuracy=0.5, train_loss=NAN, samples=1, seconds=1.0)
    )
    bus.publish(replaced(1, "x" * 100_000))
    bus.publish(replaced(2, "\ud800"))
    await log.close(END)
    loss, other, end = await read(store)
    assert repr(loss) == repr(bus.history[0])
    assert (other, end) == (replaced(2, "\ud800"), END)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_write_that_fails_or_whose_answer_is_lost_is_made_good(when: str) -> None:
    failing = True

    async def fail(request: Request) -> None:
        if failing and request.writes:
            raise StoreError(request.key, "503 Slow Down")

    true, bus = MemoryStore(), EventBus()
    store = MeddledStore(true, before=fail) if when == "before" else MeddledStore(true, after=fail)
    log, said = EventLog(store, "a", 1, bus), list[Event]()
    for number in range(60):
        said.append(replaced(number, "x" * 2000))
        bus.publish(said[-1])
        failing = number % 3 != 2
        if failing:
            with pytest.raises(StoreError):
                await log.write()
        else:
            await log.write()
    failing = False
    await log.close(END)
    assert await read(true) == [*said, END]


async def logged(store: ObjectStore, epoch: int, *events: Event) -> None:
    bus = EventBus()
    log = EventLog(store, "a", epoch, bus)
    for event in events:
        bus.publish(event)
        await log.write()
    await log.close(END)


def steps(count: int, stage: str = "train") -> StageProgress:
    return StageProgress(at=1.0, stage=stage, done=1, total=0, rows=0, steps=count)


async def test_the_newest_log_that_tells_of_steps_says_how_many_were_done() -> None:
    store = MemoryStore()
    assert await steps_said(store, "a", 1) == {}
    long = [replaced(number, "x" * 20_000) for number in range(20)]
    await logged(store, 1, steps(9, "first"), steps(70), steps(90), *long)
    assert len([info async for info in store.list("runs/a/events/")]) > 3
    resumed = StageResumed(at=0.0, stage="train", units=3, rows=300, steps=60, again=30)
    await logged(store, 2, resumed, steps(61), steps(65))
    await logged(store, 3, progress(1, "prepare"), replaced(1))
    await store.put(part_key("a", 4, 0), b"{\n\xff\n")
    await logged(store, 5, steps(1000))
    found = [await steps_said(store, "a", epoch) for epoch in range(1, 7)]
    assert found[:3] == [{}, {"first": 9, "train": 90}, {"train": 65}]
    assert found[3:] == [{"train": 65}, {"train": 65}, {"train": 1000}]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"number":0}\n', "event 0 is none that this version of cirrus knows"),
        (b'{"number":3,"event":{"type":"StageFinished","at":0.0,"stage":"a","seconds":1.0}}\n', "event 3 where 0 is"),
        (b"\xff\n", "event 0 is none"),
        (b"x" * 200_000, "no line in its bytes from 0"),
    ],
)
async def test_a_log_that_cannot_be_read_is_named(text: bytes, problem: str) -> None:
    store = MemoryStore()
    await store.put(part_key("a", 1, 0), text)
    with pytest.raises(Corrupt, match=problem) as caught:
        await read(store)
    assert caught.value.key == "runs/a/events/00000001-00000000.jsonl"
