"""Snapshots come back as they were, the newest sound one first, and old ones go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cirrus.errors import Conflict, Corrupt
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import (
    CHECKSUM,
    DTYPES,
    FIXED,
    MAGIC,
    Array,
    Draft,
    Newest,
    Snapshot,
    decode_snapshot,
    drafted,
    encode_snapshot,
    newest_snapshot,
    prune,
    save_snapshot,
    sealed,
    snapshot_key,
)
from cirrus.store.fields import JSON
from cirrus.store.memory import MemoryStore

HEADER: Mapping[str, JSON] = {"step": 7, "ledger": {"units": [1, 2], "ünit": None}, "rate": 0.1}
ARRAYS: Mapping[str, Array] = {
    "weights": np.arange(6, dtype=np.float32).reshape(3, 2),
    "steps": np.array([-1, 2**40], np.int64),
    "empty": np.zeros((0, 3), np.float64),
    "kv": np.frombuffer(b"bytes", np.uint8),
    "scalar": np.array(3, np.uint64),
}


def assert_same(snapshot: Snapshot, header: Mapping[str, JSON], arrays: Mapping[str, Array]) -> None:
    assert snapshot.header == header
    assert list(snapshot.arrays) == list(arrays)
    for name, array in arrays.items():
        again = snapshot.arrays[name]
        assert again.dtype == array.dtype.newbyteorder("<")
        assert again.shape == array.shape
        assert np.array_equal(again, array, equal_nan=array.dtype.kind == "f")


def forged(text: bytes, rest: bytes = b"") -> bytes:
    """A snapshot with a right checksum and any header."""
    body = text + bytes(-len(text) % 8) + rest
    fixed = FIXED.pack(MAGIC, 1, 0, 0, len(text), FIXED.size + len(body))
    return bytes(sealed(Draft(memoryview(bytearray(fixed + body)))))


def described(**changes: object) -> bytes:
    one: dict[str, object] = {"name": "a", "dtype": "<f4", "shape": [2]}
    return json.dumps({"arrays": [one | changes], "header": {}}).encode()


def test_a_snapshot_comes_back() -> None:
    assert_same(decode_snapshot(encode_snapshot(HEADER, ARRAYS), "s"), HEADER, ARRAYS)
    assert_same(decode_snapshot(encode_snapshot({}, {}), "s"), {}, {})


@settings(max_examples=50)
@given(
    arrays=st.dictionaries(
        st.text(max_size=5),
        st.sampled_from([*DTYPES, ">f4", ">i8"]).flatmap(
            lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
        ),
        max_size=4,
    )
)
def test_any_arrays_come_back(arrays: dict[str, Array]) -> None:
    assert_same(decode_snapshot(encode_snapshot({}, arrays), "s"), {}, arrays)


def test_arrays_that_are_not_contiguous_come_back() -> None:
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {"turned": whole.T, "part": whole[::2, ::-3]}
    assert_same(decode_snapshot(encode_snapshot({}, arrays), "s"), {}, arrays)


def test_decoding_copies_no_arrays() -> None:
    data = bytes(encode_snapshot(HEADER, ARRAYS))
    snapshot = decode_snapshot(data, "s")
    for name in ("weights", "steps", "kv"):
        array = snapshot.arrays[name]
        assert np.shares_memory(array, np.frombuffer(data, np.uint8))
        assert array.flags.aligned
        assert not array.flags.writeable


def test_a_draft_does_not_change_with_its_arrays() -> None:
    weights = np.zeros(4, np.float32)
    draft = drafted({}, {"weights": weights})
    weights[:] = 1
    assert decode_snapshot(sealed(draft), "s").arrays["weights"].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "array", [np.array(["text"]), np.array([True]), np.array([1j]), np.array([None]), np.zeros((1,) * 9, np.float32)]
)
def test_other_arrays_are_not_stored(array: Array) -> None:
    with pytest.raises(ValueError, match="'a'"):
        drafted({}, {"a": array})


def test_a_header_that_json_cannot_express_is_not_stored() -> None:
    with pytest.raises(ValueError, match="JSON"):
        drafted({"loss": float("nan")}, {})


def test_any_changed_bit_is_found() -> None:
    data = encode_snapshot({"a": 1}, {"w": np.arange(5, dtype=np.float32)})
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises(Corrupt) as caught:
                decode_snapshot(bytes(broken), "some/snapshot")
            assert caught.value.key == "some/snapshot"


def test_any_truncation_or_addition_is_found() -> None:
    data = bytes(encode_snapshot(HEADER, ARRAYS))
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_snapshot(data[:length], "s")
    with pytest.raises(Corrupt):
        decode_snapshot(data + bytes(8), "s")


def test_the_forger_knows_the_format() -> None:
    assert decode_snapshot(forged(described(), bytes(8)), "s").arrays["a"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (forged(b"not json"), "JSON"),
        (forged(b"[]"), "JSON object"),
        (forged(b"{}"), "missing"),
        (forged(b'{"arrays": [], "header": []}'), "header"),
        (forged(b'{"arrays": {}, "header": {}}'), "arrays"),
        (forged(b'{"arrays": [1], "header": {}}'), r"arrays\[0\]"),
        (forged(described(dtype="|O"), bytes(16)), "dtype"),
        (forged(described(dtype=">f4"), bytes(8)), "dtype"),
        (forged(described(shape=[3]), bytes(8)), "larger"),
        (forged(described(shape=[-1]), bytes(8)), r"shape\[0\]"),
        (forged(described(shape=[2**62])), "larger"),
        (forged(described(shape=[2**62, 0])), "larger"),
        (forged(described(shape=[2**39, 2**39, 0])), "larger"),
        (forged(described(shape=[0, 2**39, 2**39])), "larger"),
        (forged(described(shape=[1] * 9), bytes(8)), "larger"),
        (forged(described(shape="x"), bytes(8)), "shape"),
        (forged(described(extra=1), bytes(8)), "extra"),
        (forged(described(), bytes(16)), "end after"),
        (forged(b'{"arrays": [' + b"[" * 50_000), "JSON"),
        (
            forged(
                json.dumps({"arrays": [{"name": "a", "dtype": "|u1", "shape": [1]}] * 2, "header": {}}).encode(),
                bytes(16),
            ),
            "already",
        ),
    ],
)
def test_even_a_forged_checksum_lets_nothing_unsound_through(data: bytes, problem: str) -> None:
    with pytest.raises(Corrupt, match=problem):
        decode_snapshot(data, "s")


def test_a_header_longer_than_the_object_is_refused() -> None:
    data = bytearray(forged(described(), bytes(8)))
    data[16:24] = (2**63).to_bytes(8, "little")
    with pytest.raises(Corrupt, match="announces"):
        decode_snapshot(sealed(Draft(memoryview(data))), "s")
    assert data[CHECKSUM] != bytes(4)


async def saved(store: ObjectStore, *numbers: int, prefix: str = "run/shard-1") -> None:
    for number in numbers:
        await save_snapshot(store, prefix, number, drafted({"number": number}, {"w": np.array([number], np.float32)}))


async def broken(store: ObjectStore, number: int) -> str:
    key = snapshot_key("run/shard-1", number)
    data = bytearray(await store.get(key))
    data[-5] ^= 1
    await store.put(key, bytes(data))
    return key


def number_of(newest: Newest) -> tuple[int, Any]:
    return newest.number, newest.snapshot and newest.snapshot.header["number"]


class TestNewest:
    async def test_of_none_is_none(self) -> None:
        assert await newest_snapshot(MemoryStore(), "run/shard-1") == Newest()

    async def test_is_the_last(self) -> None:
        store = MemoryStore()
        await saved(store, 9, 10, 2)
        await saved(store, 50, prefix="run/shard-10")
        await store.put("run/shard-1/000000000099.tmp", b"x")
        newest = await newest_snapshot(store, "run/shard-1")
        assert number_of(newest) == (10, 10)
        assert (newest.skipped, newest.following) == ((), 11)

    async def test_passes_over_broken_ones_and_says_so(self) -> None:
        store = MemoryStore()
        await saved(store, 1, 2, 3, 4)
        keys = [await broken(store, 4), await broken(store, 3)]
        newest = await newest_snapshot(store, "run/shard-1")
        assert number_of(newest) == (2, 2)
        assert [error.key for error in newest.skipped] == keys
        assert newest.following == 5

    async def test_is_none_where_all_are_broken(self) -> None:
        store = MemoryStore()
        await saved(store, 1)
        key = await broken(store, 1)
        newest = await newest_snapshot(store, "run/shard-1")
        assert (newest.snapshot, newest.number, newest.following) == (None, -1, 2)
        assert [error.key for error in newest.skipped] == [key]


async def test_a_number_is_used_once() -> None:
    store = MemoryStore()
    await saved(store, 1)
    with pytest.raises(Conflict):
        await saved(store, 1)


class TestPruning:
    async def test_keeps_the_newest(self) -> None:
        store = MemoryStore()
        await saved(store, *range(8, 12))
        await saved(store, 1, prefix="run/shard-10")
        assert await prune(store, "run/shard-1") == tuple(snapshot_key("run/shard-1", number) for number in (8, 9))
        assert [info.key async for info in store.list("")] == [
            snapshot_key("run/shard-1", 10),
            snapshot_key("run/shard-1", 11),
            snapshot_key("run/shard-10", 1),
        ]
        assert await prune(store, "run/shard-1", keep=3) == ()

    async def test_does_not_count_broken_ones(self) -> None:
        store = MemoryStore()
        await saved(store, 1, 2, 3, 4)
        bad = {await broken(store, 3), await broken(store, 4)}
        assert await prune(store, "run/shard-1", 2, bad) == ()
        await saved(store, 5)
        assert await prune(store, "run/shard-1", 2, bad) == (snapshot_key("run/shard-1", 1),)
        assert number_of(await newest_snapshot(store, "run/shard-1")) == (5, 5)
