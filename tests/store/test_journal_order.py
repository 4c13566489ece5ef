"""Entries of an earlier driver never come to stand behind those of a later one, whatever failed before."""

from __future__ import annotations

import pytest

from cirrus.errors import RunBusy, StoreError
from cirrus.store.journal import Journal
from cirrus.store.memory import MemoryStore


class Failing(MemoryStore):
    """Fails at the next write: before it is done, or when only the answer is missing."""

    failing = ""

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        failing, self.failing = self.failing, ""
        if failing == "before":
            raise StoreError(key, "503")
        etag = await super().put_if_absent(key, data)
        if failing == "after":
            raise StoreError(key, "no answer")
        return etag


async def kinds(store: MemoryStore) -> list[str]:
    return [entry.kind for entry in await Journal(store, "run", 99).read()]


async def test_a_write_that_failed_leaves_no_gap_behind_which_an_earlier_driver_could_write() -> None:
    store = Failing()
    early, late = Journal(store, "run", 1), Journal(store, "run", 2)
    await early.append("begun", {})
    store.failing = "before"
    with pytest.raises(StoreError):
        await early.append("scaled", {})
    await late.take_over()
    with pytest.raises(RunBusy):
        await early.append("scaled", {})
    assert await kinds(store) == ["begun", "taken"]


async def test_a_write_whose_answer_was_lost_keeps_its_place() -> None:
    store = Failing()
    journal = Journal(store, "run", 1)
    store.failing = "after"
    with pytest.raises(StoreError):
        await journal.append("scaled", {})
    assert await journal.append("killed", {}) == 1
    assert await kinds(store) == ["scaled", "killed"]


async def test_a_driver_that_was_held_up_while_it_took_the_run_finds_that_a_later_one_has_it() -> None:
    store = MemoryStore()
    await Journal(store, "run", 2).take_over()
    with pytest.raises(RunBusy):
        await Journal(store, "run", 1).take_over()
    assert await kinds(store) == ["taken"]
