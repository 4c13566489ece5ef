"""The manifest of a data set is written once, read strictly, and its blocks are those that were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cirrus.errors import Conflict, Corrupt, NotFound
from cirrus.learn.rows import Rows
from cirrus.store.base import ObjectInfo
from cirrus.store.blocks import encode_block
from cirrus.store.datasets import BlockInfo, DataSet, commit, decode_dataset, encode_dataset, load
from cirrus.store.memory import MemoryStore

ROWS = Rows(np.array([1, 0], np.float32), np.array([0, 2, 3]), np.array([4, 7, 9], np.uint32))
SMALL = DataSet(
    features=10,
    train=(BlockInfo("d/train/0", 2, 3, 64, 123), BlockInfo("d/train/1", 1, 0, 48, 2**32 - 1)),
    test=(BlockInfo("d/test/0", 1, 1, 56, 0),),
    rows_in=5,
    skipped=1,
    encoder='{"kind":"hashing","salt":"ü"}',
    input=(ObjectInfo("day-0.tsv", 100, "etag"),),
)


async def test_what_was_committed_is_loaded() -> None:
    store = MemoryStore()
    etag = await commit(store, "d/manifest", SMALL)
    assert (await store.info("d/manifest")).etag == etag
    assert await load(store, "d/manifest") == SMALL


async def test_it_is_committed_once() -> None:
    store = MemoryStore()
    await commit(store, "d", SMALL)
    with pytest.raises(Conflict):
        await commit(store, "d", replace(SMALL, skipped=0))
    assert await load(store, "d") == SMALL


async def test_none_is_not_found() -> None:
    with pytest.raises(NotFound):
        await load(MemoryStore(), "d")


def test_ten_thousand_blocks_stay_compact() -> None:
    blocks = tuple(BlockInfo(f"run/prepare/{at:06d}-1/train", 10_000, 390_000, 1_640_032, at) for at in range(10_000))
    data = encode_dataset(replace(SMALL, train=blocks))
    assert len(data) < 10_000 * 100
    assert decode_dataset(data, "d").train == blocks


def changed(*path: str, to: object) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        *way, last = path
        for step in way:
            manifest = manifest[step]
        manifest[last] = to

    return change


def without(manifest: dict[str, Any]) -> None:
    del manifest["skipped"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (changed("format", to="something else"), "format"),
        (changed("version", to=2), "version"),
        (changed("surplus", to=1), "surplus is unknown"),
        (without, "skipped is missing"),
        (changed("features", to="10"), "features"),
        (changed("features", to=True), "features"),
        (changed("features", to=-1), "features"),
        (changed("features", to=1.0), "features"),
        (changed("features", to=2**63), "features"),
        (changed("encoder", to={}), "encoder"),
        (changed("train", to=[]), "train"),
        (changed("train", "rows", to=[1]), "train.rows has 1 entries"),
        (changed("train", "rows", to=[1, None]), r"train.rows\[1\]"),
        (changed("train", "crc", to=7), "train.crc"),
        (changed("train", "extra", to=7), "train.extra"),
        (changed("test", "key", to=["../../out"]), "test.key holds"),
        (changed("test", "key", to=["d/train/0"]), "twice"),
        (changed("input", "etag", to=[]), "input.etag"),
        (changed("input", "size", to=[1, 2]), "input.size"),
    ],
)
def test_a_wrong_field_is_named(change: Callable[[dict[str, Any]], None], problem: str) -> None:
    manifest = json.loads(encode_dataset(SMALL))
    change(manifest)
    with pytest.raises(Corrupt, match=problem) as caught:
        decode_dataset(json.dumps(manifest).encode(), "d/manifest")
    assert caught.value.key == "d/manifest"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"format": NaN}',
        b'{"a": 1, "a": 1}',
        b"[" * 100_000,
        b'{"version": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_not_json_is_corrupt(data: bytes) -> None:
    with pytest.raises(Corrupt):
        decode_dataset(data, "d")


def test_any_truncation_is_corrupt() -> None:
    data = encode_dataset(SMALL)
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_dataset(data[:length], "d")


class TestBlocks:
    data = encode_block(ROWS)
    info = BlockInfo.of("d/train/0", ROWS, data)

    def test_are_described(self) -> None:
        assert (self.info.rows, self.info.nnz, self.info.size) == (2, 3, len(self.data))

    def test_open_as_they_were(self) -> None:
        rows = self.info.open(self.data, 10)
        assert rows.indices.tolist() == [4, 7, 9]
        assert rows.indptr.tolist() == [0, 2, 3]

    def test_with_other_bytes_are_refused(self) -> None:
        other = encode_block(Rows(ROWS.labels, ROWS.indptr, np.array([4, 7, 8], np.uint32)))
        for data in (other, self.data[:-8], self.data[:-1] + b"x"):
            with pytest.raises(Corrupt, match="d/train/0"):
                self.info.open(data, 10)

    def test_with_features_beyond_the_model_are_refused(self) -> None:
        with pytest.raises(Corrupt, match="feature"):
            self.info.open(self.data, 9)
