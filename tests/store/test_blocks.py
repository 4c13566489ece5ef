"""Blocks of rows come back as they were, or are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cirrus.errors import Corrupt
from cirrus.learn.rows import Rows
from cirrus.store.blocks import CHECKSUM, HEADER, checksum_of, decode_block, encode_block


def made(lengths: list[int], seed: int = 0, *values: float) -> Rows:
    chance = np.random.default_rng(seed)
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    indices = chance.integers(0, 2**32, int(indptr[-1]), dtype=np.uint32)
    held = chance.choice(values, len(indices)).astype(np.float32) if values else None
    return Rows(chance.integers(0, 2, len(lengths)).astype(np.float32), indptr, indices, held)


def same(one: Rows, other: Rows) -> bool:
    pairs: list[tuple[NDArray[Any], NDArray[Any]]] = [
        (one.labels, other.labels),
        (one.indptr, other.indptr),
        (one.indices, other.indices),
    ]
    if one.values is not None and other.values is not None:
        pairs.append((one.values, other.values))
    return (one.values is None) == (other.values is None) and all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs
    )


def resealed(data: bytearray) -> bytes:
    data[CHECKSUM] = checksum_of(memoryview(data)).to_bytes(4, "little")
    return bytes(data)


@given(
    lengths=st.lists(st.integers(0, 5), max_size=30),
    seed=st.integers(0, 2**32),
    values=st.sampled_from([(), (0.5, 1.0), (float("nan"), float("inf"), -0.0)]),
)
def test_rows_come_back(lengths: list[int], seed: int, values: tuple[float, ...]) -> None:
    rows = made(lengths, seed, *values)
    again = decode_block(encode_block(rows), "b")
    if rows.values is not None and bool(np.all(rows.values == 1)):
        rows = Rows(rows.labels, rows.indptr, rows.indices)
    assert same(again, rows)


def test_values_that_are_all_one_take_no_space() -> None:
    plain, ones = made([3, 0, 4]), made([3, 0, 4], 0, 1.0)
    assert encode_block(ones)[HEADER.size :] == encode_block(plain)[HEADER.size :]
    assert decode_block(encode_block(ones), "b").values is None


def test_decoding_copies_no_values() -> None:
    data = encode_block(made([2] * 1000, 0, 0.5, 2.0))
    rows = decode_block(data, "b")
    whole = np.frombuffer(data, np.uint8)
    assert rows.values is not None
    for array in (rows.labels, rows.indices, rows.values):
        assert np.shares_memory(array, whole)
        assert array.flags.aligned
        assert not array.flags.writeable
        assert (array.ctypes.data - whole.ctypes.data) % 8 == 0


def test_a_slice_and_a_view_will_do() -> None:
    rows = made([3, 0, 4, 1], 0, 0.5)
    part = rows.slice(1, 3)
    data = bytearray(b"before" + encode_block(part) + b"after")
    assert same(decode_block(memoryview(data)[6:-5], "b"), part)


@pytest.mark.parametrize("values", [(), (0.5, 2.0)])
def test_any_changed_bit_is_found(values: tuple[float, ...]) -> None:
    data = encode_block(made([2, 0, 3], 1, *values))
    for place in range(len(data)):
        for bit in range(8):
            broken = bytearray(data)
            broken[place] ^= 1 << bit
            with pytest.raises(Corrupt) as caught:
                decode_block(bytes(broken), "some/block")
            assert caught.value.key == "some/block"


def test_any_truncation_or_addition_is_found() -> None:
    data = encode_block(made([2, 0, 3], 1, 0.5))
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_block(data[:length], "b")
    with pytest.raises(Corrupt):
        decode_block(data + bytes(8), "b")


@settings(max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 40) | st.just(0),
)
def test_even_a_forged_checksum_lets_nothing_unsound_through(changes: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(encode_block(made([2, 0, 3, 1], 1, 0.5)))
    for place, value in changes:
        data[place % len(data)] = value
    del data[len(data) - cut :]
    try:
        rows = decode_block(resealed(data), "b")
    except Corrupt:
        return
    assert len(rows.indptr) == len(rows) + 1
    assert rows.indptr[0] == 0
    assert rows.indptr[-1] == len(rows.indices)
    assert bool(np.all(np.diff(rows.indptr) >= 0))
    assert rows.values is None or len(rows.values) == len(rows.indices)


def test_counts_beyond_the_bytes_are_refused_before_memory_is_asked_for() -> None:
    data = bytearray(encode_block(made([1])))
    for rows, nnz in ((2**62, 1), (1, 2**62), (2**64 - 1, 2**64 - 1)):
        data[16:32] = rows.to_bytes(8, "little") + nnz.to_bytes(8, "little")
        with pytest.raises(Corrupt, match="announces"):
            decode_block(resealed(data), "b")


@pytest.mark.parametrize(
    ("place", "content", "problem"),
    [(0, b"cirrusX\n", "not a block"), (8, b"\2\0", "version 2"), (10, b"\2\0", "flags")],
)
def test_other_formats_are_named(place: int, content: bytes, problem: str) -> None:
    data = bytearray(encode_block(made([1])))
    data[place : place + len(content)] = content
    with pytest.raises(Corrupt, match=problem):
        decode_block(resealed(data), "b")
