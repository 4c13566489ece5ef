"""The journal of a run: decisions in order, each once, written by one driver at a time."""

from __future__ import annotations

import asyncio

import pytest

from cirrus.errors import Corrupt, RunBusy
from cirrus.store.journal import Entry, Journal
from cirrus.store.memory import MemoryStore


async def test_what_is_appended_is_read_in_order() -> None:
    store = MemoryStore()
    journal = Journal(store, "a", 1)
    for k in range(12):
        await journal.append("scaled", {"stage": "train", "workers": k})
    found = await Journal(store, "a", 2).read()
    assert found == tuple(Entry("scaled", {"stage": "train", "workers": k}) for k in range(12))


async def test_two_decisions_of_one_driver_at_once_are_both_kept() -> None:
    store = MemoryStore()
    journal = Journal(store, "a", 1)
    await asyncio.gather(*[journal.append("scaled", {"workers": k}) for k in range(10)])
    found = await Journal(store, "a", 2).read()
    assert sorted(int(str(one.fields["workers"])) for one in found) == list(range(10))


async def test_another_driver_goes_on_behind_what_it_has_read() -> None:
    store = MemoryStore()
    await Journal(store, "a", 1).append("prepared", {})
    second = Journal(store, "a", 2)
    await second.read()
    await second.append("killed", {"reason": "enough"})
    assert [one.kind for one in await Journal(store, "a", 3).read()] == ["prepared", "killed"]


async def test_a_driver_that_was_overtaken_can_decide_nothing_more() -> None:
    store = MemoryStore()
    first, second = Journal(store, "a", 1), Journal(store, "a", 2)
    await first.append("prepared", {})
    await second.read()
    await second.append("scaled", {"workers": 2})
    with pytest.raises(RunBusy):
        await first.append("killed", {})
    assert [one.kind for one in await Journal(store, "a", 3).read()] == ["prepared", "scaled"]


async def test_runs_have_journals_of_their_own() -> None:
    store = MemoryStore()
    await Journal(store, "a", 1).append("prepared", {})
    assert await Journal(store, "b", 1).read() == ()


@pytest.mark.parametrize("data", [b"{}", b"nonsense", b'{"kind": 1, "epoch": 1, "nonce": "", "fields": {}}'])
async def test_a_broken_entry_is_named(data: bytes) -> None:
    store = MemoryStore()
    await store.put("runs/a/journal/00000000.json", data)
    with pytest.raises(Corrupt, match=r"journal/00000000\.json"):
        await Journal(store, "a", 1).read()
