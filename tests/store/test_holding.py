"""Who holds a run: one driver, for as long as it is heard of."""

from __future__ import annotations

import asyncio

import pytest

from cirrus.errors import Conflict, Corrupt, RunBusy
from cirrus.store.holding import PATIENCE, Holding, Spent, state_of
from cirrus.store.memory import MemoryStore
from cirrus.testing.stores import MeddledStore, Request

NOW = 1_800_000_000.0


async def test_the_first_holds_it_and_the_second_hears_who_does() -> None:
    store = MemoryStore()
    assert (await Holding.take(store, "a", "one", NOW)).epoch == 1
    with pytest.raises(RunBusy) as busy:
        await Holding.take(store, "a", "two", NOW + 3)
    assert (busy.value.holder, busy.value.seconds) == ("one", 3.0)


async def test_runs_are_held_apart() -> None:
    store = MemoryStore()
    await Holding.take(store, "a", "one", NOW)
    assert (await Holding.take(store, "b", "two", NOW)).epoch == 1


async def test_of_many_that_want_it_at_once_one_gets_it() -> None:
    store = MemoryStore()
    taken = await asyncio.gather(
        *[Holding.take(store, "a", f"driver {n}", NOW) for n in range(20)], return_exceptions=True
    )
    assert sum(isinstance(one, Holding) for one in taken) == 1
    assert sum(isinstance(one, RunBusy) for one in taken) == 19


async def test_of_many_that_take_over_at_once_one_gets_it() -> None:
    store = MemoryStore()
    await Holding.take(store, "a", "one", NOW)
    late = NOW + PATIENCE
    taken = await asyncio.gather(
        *[Holding.take(store, "a", f"driver {n}", late) for n in range(20)], return_exceptions=True
    )
    assert [one.epoch for one in taken if isinstance(one, Holding)] == [2]


async def test_a_released_run_is_free_at_once_and_remembers_what_it_cost() -> None:
    store = MemoryStore()
    first = await Holding.take(store, "a", "one", NOW)
    await first.release(NOW + 1, Spent(2.5, 70.0))
    second = await Holding.take(store, "a", "two", NOW + 1)
    assert (second.epoch, second.spent) == (2, Spent(2.5, 70.0))


async def test_signs_of_life_keep_it() -> None:
    store = MemoryStore()
    first = await Holding.take(store, "a", "one", NOW)
    for k in range(1, 6):
        await first.renew(NOW + 20 * k, Spent())
    with pytest.raises(RunBusy):
        await Holding.take(store, "a", "two", NOW + 110)


async def test_a_driver_that_slept_finds_that_it_lost_the_run() -> None:
    store = MemoryStore()
    first = await Holding.take(store, "a", "one", NOW)
    await Holding.take(store, "a", "two", NOW + 3600)
    with pytest.raises(RunBusy) as busy:
        await first.renew(NOW + 3601, Spent())
    assert busy.value.holder == "two"
    with pytest.raises(RunBusy):
        await first.release(NOW + 3601, Spent())


async def test_a_holder_that_is_known_to_be_dead_is_not_waited_for() -> None:
    store = MemoryStore()
    await Holding.take(store, "a", "one", NOW)
    assert (await Holding.take(store, "a", "two", NOW + 1, lambda name: name == "one")).epoch == 2


async def test_a_write_whose_answer_was_lost_does_not_cost_the_run() -> None:
    store = MemoryStore()
    first = await Holding.take(store, "a", "one", NOW)
    key = "runs/a/holder.json"
    await store.put(key, await store.get(key))  # the object's tag is another now, as after a write of our own
    await first.renew(NOW + 1, Spent())
    await first.renew(NOW + 2, Spent())


async def test_whoever_never_hears_of_its_writes_holds_the_run_all_the_same() -> None:
    store = MemoryStore()

    async def lose_the_answer(request: Request) -> None:
        if request.writes:
            raise Conflict(request.key, "412, says a retry of the request that got through")

    first = await Holding.take(MeddledStore(store, after=lose_the_answer), "a", "one", NOW)
    assert await first.renew(NOW + 1, Spent(1.0)) == Spent(1.0)
    await asyncio.gather(*[first.renew(NOW + 2, Spent(2.0, float(seconds))) for seconds in (30, 10, 20)])
    await first.release(NOW + 3, Spent(3.0))
    second = await Holding.take(store, "a", "two", NOW + 3)
    assert (second.epoch, second.spent) == (2, Spent(3.0))


async def test_its_state_can_be_seen() -> None:
    store = MemoryStore()
    assert await state_of(store, "a", NOW) == "parked"
    first = await Holding.take(store, "a", "one", NOW)
    assert await state_of(store, "a", NOW + 1) == "running"
    assert await state_of(store, "a", NOW + 1, lambda _: True) == "parked"
    assert await state_of(store, "a", NOW + PATIENCE) == "parked"
    await first.release(NOW + 2, Spent())
    assert await state_of(store, "a", NOW + 2) == "parked"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"epoch": "1"}', b"\xff"])
async def test_a_broken_record_is_named(data: bytes) -> None:
    store = MemoryStore()
    await store.put("runs/a/holder.json", data)
    with pytest.raises(Corrupt, match=r"runs/a/holder\.json"):
        await Holding.take(store, "a", "one", NOW)
