"""A store that counts requests keeps the contract, and counts what a provider bills."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from cirrus.store.base import ObjectStore
from cirrus.store.counted import PAGE, PART, Counted
from cirrus.store.memory import MemoryStore
from cirrus.testing.contracts.store import StoreContract


class TestCounted(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[ObjectStore]:
        counted = Counted(MemoryStore(), lambda *_: None)
        yield counted
        await counted.close()


async def test_reads_and_writes_are_told_apart() -> None:
    told: list[tuple[int, int]] = []
    store = Counted(MemoryStore(), lambda gets, puts: told.append((gets, puts)))
    etag = await store.put("a", b"1")
    await store.put_if_absent("b", b"2")
    await store.replace_if("a", b"3", etag)
    await store.get("a")
    await store.info("b")
    await store.delete("b")
    assert [one.key async for one in store.list("")] == ["a"]
    assert told == [(0, 1), (0, 1), (0, 1), (1, 0), (1, 0), (0, 1)]


async def test_parts_and_pages_are_requests() -> None:
    told = [0]

    def count(gets: int, puts: int) -> None:
        told[0] += puts

    store = Counted(MemoryStore(), count)
    await store.put("large", bytes(2 * PART + 1))
    assert told == [2 + 3]
    for number in range(PAGE):
        await store.put(f"many/{number:04}", b"")
    told[0] = 0
    assert len([one async for one in store.list("many/")]) == PAGE
    assert told == [2]
