"""The clock that tests move."""

from __future__ import annotations

import asyncio

import pytest

from cirrus.clock import Clock, SystemClock
from cirrus.testing.clock import ManualClock


async def test_sleepers_wake_in_the_order_of_their_time() -> None:
    clock = ManualClock()
    start = clock.monotonic()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic() - start))

    tasks = [asyncio.create_task(sleeper(*one)) for one in (("c", 3.0), ("a", 1.0), ("b", 2.0), ("d", 9.0))]
    await clock.advance(5.0)
    assert woken == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert clock.sleeping == 1
    await clock.advance(4.0)
    assert woken[-1] == ("d", 9.0)
    await asyncio.gather(*tasks)


async def test_an_hour_of_heartbeats_passes_in_one_call() -> None:
    clock = ManualClock()
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await clock.sleep(10.0)
            beats += 1

    task = asyncio.create_task(beat())
    await clock.advance(3600.0)
    assert beats == 360
    task.cancel()
    await asyncio.wait((task,))
    assert clock.sleeping == 0


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.settle()
    task.cancel()
    await clock.advance(2.0)
    assert task.cancelled()


async def test_the_two_times_can_be_set_apart() -> None:
    clock = ManualClock(wall=1000.0, monotonic=5.0)
    clock.set_wall(400.0)
    assert (clock.wall(), clock.monotonic()) == (400.0, 5.0)
    await clock.advance(10.0)
    assert (clock.wall(), clock.monotonic()) == (410.0, 15.0)
    sleeper = asyncio.create_task(clock.sleep(3.0))
    await clock.settle()
    clock.drift(7.0)
    assert (clock.wall(), clock.monotonic(), sleeper.done()) == (410.0, 22.0, False)
    await clock.advance(0.0)
    assert sleeper.done()
    assert clock.monotonic() == 22.0
    with pytest.raises(ValueError, match="never goes back"):
        clock.drift(-1.0)


async def test_sleeping_for_no_time_gives_others_a_turn() -> None:
    for clock in (ManualClock(), SystemClock()):
        seen: list[str] = []

        async def other(seen: list[str] = seen) -> None:
            seen.append("other")

        task = asyncio.create_task(other())
        await clock.sleep(0.0)
        assert seen == ["other"]
        await task


async def test_the_clock_of_the_machine_goes_on() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic(), clock.wall()
    await clock.sleep(0.001)
    assert clock.monotonic() > before[0]
    assert clock.wall() > 1_600_000_000.0
