"""The store in memory keeps the contract."""

from __future__ import annotations

import pytest

from cirrus.store.base import ObjectStore
from cirrus.store.memory import MemoryStore
from cirrus.testing.contracts.store import StoreContract


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> ObjectStore:
        return MemoryStore()


async def test_keeps_its_objects_when_one_user_closes_it() -> None:
    store = MemoryStore("shared")
    await store.put("a", b"x")
    await store.close()
    assert await store.get("a") == b"x"
    assert store.url == "memory:shared"
