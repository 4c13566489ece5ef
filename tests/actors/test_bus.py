"""The event bus: history first, then what happens; slow readers lose points and nothing else."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.actors.bus import EventBus, Subscription, curve
from cirrus.errors import Closed
from cirrus.events import Event, LossReported, StageProgress, StageStarted, WorkerStopped


def loss(at: float, *, final: bool = False) -> LossReported:
    return LossReported(
        at=at, stage="train", loss=0.5, auc=0.5, accuracy=0.5, train_loss=0.5, samples=1, seconds=at, final=final
    )


def stopped(at: float) -> WorkerStopped:
    return WorkerStopped(at=at, stage="train", slot=0, attempt=1, reason="done")


async def drain(reader: Subscription) -> list[Event]:
    return [event async for event in reader]


async def test_every_reader_gets_history_and_then_what_happens() -> None:
    bus = EventBus()
    early = bus.subscribe()
    bus.publish(stopped(1.0))
    late = bus.subscribe()
    readers = [asyncio.create_task(drain(reader)) for reader in (early, late)]
    await asyncio.sleep(0)
    bus.publish(stopped(2.0))
    bus.close()
    bus.publish(stopped(3.0))
    for reader in readers:
        assert await reader == [stopped(1.0), stopped(2.0)]
    assert await drain(bus.subscribe()) == [stopped(1.0), stopped(2.0)], "a closed bus still tells its history"


async def test_a_slow_reader_loses_the_oldest_points_and_nothing_else() -> None:
    bus = EventBus(unread=3)
    slow = bus.subscribe()
    for at in range(10):
        bus.publish(loss(at))
        bus.publish(stopped(at))
    bus.publish(loss(10.0, final=True))
    bus.close()
    got = await drain(slow)
    assert [event.at for event in got if isinstance(event, WorkerStopped)] == list(range(10))
    assert [event.at for event in got if isinstance(event, LossReported)] == [7, 8, 9, 10]
    assert [event.at for event in got] == sorted(event.at for event in got)


async def test_history_is_thinned_out_but_keeps_the_newest_and_the_final_point() -> None:
    bus = EventBus(unread=2, history=8)
    for at in range(1000):
        bus.publish(loss(at))
        bus.publish(StageProgress(at=at, stage="train", done=at, total=1000, rows=at))
    bus.publish(loss(1000.0, final=True))
    bus.close()
    got = await drain(bus.subscribe())
    losses = [event.at for event in got if isinstance(event, LossReported)]
    progress = [event.at for event in got if isinstance(event, StageProgress)]
    assert losses[-2:] == [999, 1000]
    assert progress[-1] == 999
    assert max(len(losses), len(progress)) <= 9
    assert min(len(losses), len(progress)) >= 4


async def test_leaving_early_leaves_nothing_behind() -> None:
    bus = EventBus()
    bus.publish(stopped(1.0))
    async for event in bus.subscribe():
        assert event == stopped(1.0)
        break
    assert bus.readers == 0
    task = asyncio.create_task(drain(bus.subscribe()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bus.readers == 1
    task.cancel()
    await asyncio.wait((task,))
    del task
    gc.collect()
    assert bus.readers == 0


async def test_a_waiting_reader_is_held_even_if_nobody_holds_its_task() -> None:
    bus = EventBus()
    got: list[Event] = []

    async def read() -> None:
        async for event in bus.subscribe():
            got.append(event)  # noqa: PERF401  one by one is the point

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    del task
    gc.collect()
    bus.publish(stopped(1.0))
    bus.close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert got == [stopped(1.0)]


async def test_a_subscription_has_one_reader_and_can_be_closed() -> None:
    bus = EventBus()
    reader = bus.subscribe()
    first = asyncio.create_task(drain(reader))
    await asyncio.sleep(0)
    with pytest.raises(Closed, match="one reader"):
        await anext(reader)
    await reader.aclose()
    assert await first == []


def test_limits_below_two_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        EventBus(unread=1)


events = st.lists(
    st.one_of(
        st.builds(loss, st.just(0.0), final=st.booleans()),
        st.builds(stopped, st.just(0.0)),
        st.builds(StageProgress, at=st.just(0.0), stage=st.sampled_from("ab"), done=st.just(1), total=st.just(2),
                  rows=st.just(3)),
        st.builds(StageStarted, at=st.just(0.0), stage=st.just("a"), workers=st.integers(0, 9)),
    ),
    max_size=60,
)


@given(events, st.integers(2, 6), st.integers(2, 6), st.integers(0, 60))
def test_no_reader_ever_misses_an_event_that_is_no_point(
    told: list[Event], unread: int, history: int, before: int
) -> None:
    async def check() -> None:
        bus = EventBus(unread, history)
        for event in told[:before]:
            bus.publish(event)
        reader = bus.subscribe()
        for event in told[before:]:
            bus.publish(event)
        bus.close()
        lasting = [event for event in told if curve(event) is None]
        got = await drain(reader)
        assert [event for event in got if curve(event) is None] == lasting
        assert sum(curve(event) is not None for event in got) <= max(unread, 3 * history)

    asyncio.run(check())
