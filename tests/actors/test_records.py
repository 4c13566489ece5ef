"""What a run keeps of itself: nothing of it is written over what a later driver wrote."""

from __future__ import annotations

import pytest

from cirrus.actors.records import Records
from cirrus.clock import SystemClock
from cirrus.core.cost import FREE, Meter
from cirrus.errors import RunBusy, StoreError
from cirrus.store.holding import Holding
from cirrus.store.memory import MemoryStore
from cirrus.testing.stores import MeddledStore, Request

COST = Meter(FREE).cost(0.0)
RESULT = "runs/a/result.json"


async def _taken(store: MemoryStore | MeddledStore, holder: str) -> Records:
    holding = await Holding.take(store, "a", holder, 0.0, lambda _: True)
    return Records(store, "a", holding, SystemClock())


@pytest.mark.parametrize("there_before", [False, True])
async def test_a_late_result_is_not_written_over_a_later_drivers(there_before: bool) -> None:  # noqa: FBT001
    store = MemoryStore()
    if there_before:
        await (await _taken(store, "first")).close("parked", "", {}, COST)

    async def overtaken(request: Request) -> None:
        if request.key == RESULT and request.writes:
            await (await _taken(store, "newer")).close("done", "", {}, COST)

    old = await _taken(MeddledStore(store, before=overtaken), "old")
    with pytest.raises(RunBusy):
        await old.close("parked", "late", {}, COST)
    assert b'"done"' in await store.get(RESULT)


async def test_a_write_of_ours_whose_answer_is_lost_is_written_again() -> None:
    store = MemoryStore()
    refused: list[Request] = []

    async def echo(request: Request) -> None:
        if request.key == RESULT and request.writes and not refused:
            refused.append(request)
            await store.put(RESULT, b"{}")

    mine = await _taken(MeddledStore(store, before=echo), "mine")
    await mine.close("done", "", {}, COST)
    assert refused
    assert b'"done"' in await store.get(RESULT)


async def test_a_run_whose_result_cannot_be_written_is_let_go_of_all_the_same() -> None:
    store = MemoryStore()

    async def full(request: Request) -> None:
        if request.key == RESULT and request.writes:
            raise StoreError(RESULT, "No space left on device")

    mine = await _taken(MeddledStore(store, before=full), "mine")
    with pytest.raises(StoreError, match="No space"):
        await mine.close("parked", "", {}, COST)
    assert (await Holding.take(store, "a", "another", 0.0)).epoch == 2
