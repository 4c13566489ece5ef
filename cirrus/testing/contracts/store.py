"""What every object store must do, as tests.

Subclass ``StoreContract`` where pytest looks for tests, and give it a fixture ``store`` that yields an empty store and
closes it afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import ClassVar

import pytest

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.base import ObjectInfo, ObjectStore

BIG = 5_000_000
RACERS = 20

GOOD_KEYS = (
    "a",
    "deep/" * 20 + "end",
    ".hidden",
    "...",
    "..almost",
    "with space/and+plus/and%41percent",
    "ünïcödé/漢字/🌩",
    "back\\slash",
    "quote'and\"quote",
    "question?mark#hash&and=",
    "new\nline",
    "-dash",
    "~tilde",
    "CON",
    "x" * 200,
)
BAD_KEYS = (
    "",
    "/",
    "/absolute",
    "trailing/",
    "double//slash",
    ".",
    "..",
    "../out",
    "a/../../out",
    "a/./b",
    "nul\0inside",
    "\ud800",
    "x/" * 600 + "x",
)


async def _listed(store: ObjectStore, prefix: str) -> list[ObjectInfo]:
    return [info async for info in store.list(prefix)]


async def _keys(store: ObjectStore, prefix: str) -> list[str]:
    return [info.key for info in await _listed(store, prefix)]


async def _winners(attempts: Iterable[Awaitable[str]]) -> list[int]:
    """The numbers of the attempts that won; each of the others must have lost by ``Conflict``."""
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert [result for result in results if not isinstance(result, str | Conflict)] == []
    return [number for number, result in enumerate(results) if isinstance(result, str)]


class StoreContract:
    """The contract suite of ``ObjectStore``; ``store`` must be an empty one for each test.

    ``good_keys`` may leave out keys that a server is known to mistake for others; ``racers`` is how many write at once.
    """

    good_keys: ClassVar[tuple[str, ...]] = GOOD_KEYS
    racers: ClassVar[int] = RACERS
    pytestmark = pytest.mark.asyncio

    async def test_returns_what_was_put(self, store: ObjectStore) -> None:
        await store.put("a/b", b"hello")
        assert await store.get("a/b") == b"hello"

    async def test_takes_a_view_and_keeps_its_own_copy(self, store: ObjectStore) -> None:
        data = bytearray(b"before")
        await store.put("a", memoryview(data)[1:])
        data[:] = b"after!"
        assert await store.get("a") == b"efore"

    @pytest.mark.parametrize(
        ("start", "stop", "expected"),
        [
            (0, None, b"0123456789"),
            (3, None, b"3456789"),
            (3, 7, b"3456"),
            (0, 0, b""),
            (7, 3, b""),
            (8, 100, b"89"),
            (0, 2**62, b"0123456789"),
            (10, None, b""),
            (11, 20, b""),
        ],
    )
    async def test_returns_ranges(self, store: ObjectStore, start: int, stop: int | None, expected: bytes) -> None:
        await store.put("a", b"0123456789")
        assert await store.get("a", start, stop) == expected

    @pytest.mark.parametrize(("start", "stop"), [(-1, None), (0, -1), (-3, -1)])
    async def test_refuses_ranges_below_zero(self, store: ObjectStore, start: int, stop: int | None) -> None:
        await store.put("a", b"0123456789")
        with pytest.raises(StoreError):
            await store.get("a", start, stop)

    async def test_keeps_empty_objects(self, store: ObjectStore) -> None:
        etag = await store.put("empty", b"")
        assert await store.get("empty") == b""
        assert await store.info("empty") == ObjectInfo("empty", 0, etag)
        assert await _listed(store, "") == [ObjectInfo("empty", 0, etag)]

    async def test_keeps_big_objects(self, store: ObjectStore) -> None:
        data = bytes(range(251)) * (BIG // 251)
        await store.put("big", data)
        assert await store.get("big") == data
        assert await store.get("big", 4_000_001, 4_000_011) == data[4_000_001:4_000_011]

    async def test_misses_what_is_not_there(self, store: ObjectStore) -> None:
        await store.put("folder/file", b"x")
        for key in ("nothing", "folder", "folder/other", "folder/file/below"):
            with pytest.raises(NotFound) as caught:
                await store.get(key)
            assert caught.value.key == key
            with pytest.raises(NotFound):
                await store.info(key)

    async def test_tells_size_and_etag(self, store: ObjectStore) -> None:
        etag = await store.put("a", b"12345")
        assert await store.info("a") == ObjectInfo("a", 5, etag)
        assert await _listed(store, "a") == [ObjectInfo("a", 5, etag)]

    async def test_gives_each_of_many_quick_writes_of_one_size_its_own_etag(self, store: ObjectStore) -> None:
        etags = [await store.put("a", b"%03d" % number) for number in range(100)]
        assert len(set(etags)) == 100

    async def test_gives_a_new_etag_after_deletion(self, store: ObjectStore) -> None:
        etags = set()
        for number in range(20):
            etags.add(await store.put_if_absent("a", b"%02d" % number))
            await store.delete("a")
        assert len(etags) == 20

    async def test_puts_over_an_older_object(self, store: ObjectStore) -> None:
        await store.put("a", b"a long one")
        await store.put("a", b"short")
        assert await store.get("a") == b"short"

    async def test_creates_only_where_nothing_is(self, store: ObjectStore) -> None:
        etag = await store.put_if_absent("a", b"first")
        with pytest.raises(Conflict) as caught:
            await store.put_if_absent("a", b"second")
        assert caught.value.key == "a"
        assert await store.get("a") == b"first"
        assert (await store.info("a")).etag == etag

    async def test_replaces_only_what_was_expected(self, store: ObjectStore) -> None:
        first = await store.put("a", b"first")
        second = await store.replace_if("a", b"other", first)
        assert (await store.info("a")).etag == second
        with pytest.raises(Conflict):
            await store.replace_if("a", b"third", first)
        assert await store.get("a") == b"other"

    async def test_replaces_nothing_where_nothing_is(self, store: ObjectStore) -> None:
        with pytest.raises(Conflict):
            await store.replace_if("a", b"x", "some etag")
        etag = await store.put("a", b"first")
        await store.delete("a")
        with pytest.raises(Conflict):
            await store.replace_if("a", b"x", etag)
        assert await _keys(store, "") == []

    async def test_deletes_once_or_more(self, store: ObjectStore) -> None:
        await store.put("a/b", b"x")
        await store.put("a/c", b"y")
        await store.delete("a/b")
        await store.delete("a/b")
        await store.delete("never/there")
        await store.delete("a")
        with pytest.raises(NotFound):
            await store.get("a/b")
        assert await _keys(store, "") == ["a/c"]

    async def test_lists_in_order_below_any_prefix(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.b", "a/b", "a/b.c", "a/bb/c", "a0", "aé", "b/c/d", "b/c-d", "é"]
        for key in reversed(keys):
            await store.put(key, b"x")
        assert await _keys(store, "") == sorted(keys)
        for prefix in ("a", "a/", "a/b", "a/bb/", "b/c/", "b", "a.b", "é", "zzz", "a/b/", "nothing/here"):
            assert await _keys(store, prefix) == sorted(key for key in keys if key.startswith(prefix))

    async def test_lists_nothing_where_nothing_is(self, store: ObjectStore) -> None:
        assert await _listed(store, "") == []
        assert await _listed(store, "some/where") == []

    @pytest.mark.parametrize("prefix", ["../", "/", "a//", "a/../", "./"])
    async def test_refuses_prefixes_that_no_key_can_have(self, store: ObjectStore, prefix: str) -> None:
        with pytest.raises(StoreError):
            await _listed(store, prefix)

    async def test_keeps_objects_of_any_good_key_apart(self, store: ObjectStore) -> None:
        for key in self.good_keys:
            await store.put_if_absent(key, key.encode())
        assert await _keys(store, "") == sorted(self.good_keys)
        assert [await store.get(key) for key in self.good_keys] == [key.encode() for key in self.good_keys]
        for key in self.good_keys:
            await store.delete(key)
        assert await _keys(store, "") == []

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_refuses_bad_keys(self, store: ObjectStore, key: str) -> None:
        attempts = (
            store.get(key),
            store.info(key),
            store.put(key, b"x"),
            store.put_if_absent(key, b"x"),
            store.replace_if(key, b"x", "etag"),
            store.delete(key),
        )
        results = await asyncio.gather(*attempts, return_exceptions=True)
        assert [type(result) for result in results] == [StoreError] * len(attempts)
        assert await _keys(store, "") == []

    async def test_lets_one_of_many_creators_win(self, store: ObjectStore) -> None:
        winners = await _winners(store.put_if_absent("race", b"%d" % number) for number in range(self.racers))
        assert len(winners) == 1
        assert await store.get("race") == b"%d" % winners[0]

    async def test_lets_one_of_many_replacers_win(self, store: ObjectStore) -> None:
        etag = await store.put("race", b"old")
        winners = await _winners(store.replace_if("race", b"%d" % number, etag) for number in range(self.racers))
        assert len(winners) == 1
        assert await store.get("race") == b"%d" % winners[0]

    async def test_counts_right_by_compare_and_set(self, store: ObjectStore) -> None:
        await store.put("count", b"0")

        async def add_one() -> None:
            while True:
                etag = (await store.info("count")).etag
                value = int(await store.get("count"))
                try:
                    await store.replace_if("count", b"%d" % (value + 1), etag)
                except Conflict:
                    continue
                return

        await asyncio.gather(*(add_one() for _ in range(8)))
        assert await store.get("count") == b"8"

    async def test_never_shows_half_an_object(self, store: ObjectStore) -> None:
        size = 1_000_000
        await store.put("a", b"0" * size)

        async def write() -> None:
            for number in range(1, 9):
                await store.put("a", b"%d" % number * size)

        async def read() -> None:
            for _ in range(10):
                data = await store.get("a")
                assert len(data) == size
                assert data.count(data[:1]) == size

        await asyncio.gather(write(), read(), read(), read())

    async def test_says_where_it_is(self, store: ObjectStore) -> None:
        assert store.url.partition(":")[0].isalnum()
