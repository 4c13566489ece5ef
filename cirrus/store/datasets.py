"""The manifest of a prepared data set: what was read, what was written, and how features are told from columns.

One JSON object with columns instead of ten thousand records. Blocks that no manifest names do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cirrus.errors import Corrupt, StoreError
from cirrus.learn.rows import Rows
from cirrus.store.base import ObjectInfo, ObjectStore
from cirrus.store.blocks import decode_block, stored_checksum
from cirrus.store.fields import JSON, Fields, to_json
from cirrus.store.keys import checked

FORMAT = "cirrus data set"
VERSION = 1


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """A block that was written: its key, how many rows and values it holds, its size in bytes and its CRC-32."""

    key: str
    rows: int
    nnz: int
    size: int
    crc: int

    @classmethod
    def of(cls, key: str, rows: Rows, data: bytes) -> BlockInfo:
        """What there is to know of ``rows`` that were encoded as ``data``."""
        return cls(key, len(rows), len(rows.indices), len(data), stored_checksum(data))

    def open(self, data: bytes | memoryview, features: int) -> Rows:
        """The rows of the block's bytes, without copying them; ``Corrupt`` unless they are what was written.

        Feature numbers are all below ``features`` afterwards.
        """
        if len(data) != self.size:
            raise Corrupt(self.key, f"{len(data)} bytes where the manifest tells of {self.size}")
        rows = decode_block(data, self.key)
        if (len(rows), len(rows.indices), stored_checksum(data)) != (self.rows, self.nnz, self.crc):
            raise Corrupt(self.key, "it is a sound block, but another than the one in the manifest")
        if self.nnz and int(rows.indices.max()) >= features:
            raise Corrupt(self.key, f"it holds a feature beyond the data set's {features}")
        return rows


@dataclass(frozen=True, slots=True)
class DataSet:
    """A prepared data set. ``features``: feature numbers are below it. ``train``, ``test``: the blocks, in order.

    ``rows_in``: rows read from the input, of which ``skipped`` could not be used. ``encoder``: the fitted encoder as
    text, for whoever wrote it. ``input``: the objects that were read, as they were then.
    """

    features: int
    train: tuple[BlockInfo, ...]
    test: tuple[BlockInfo, ...]
    rows_in: int
    skipped: int
    encoder: str
    input: tuple[ObjectInfo, ...]


async def commit(store: ObjectStore, key: str, dataset: DataSet) -> str:
    """Make the data set the one of ``key`` and return the manifest's ETag; ``Conflict`` if there is one already."""
    return await store.put_if_absent(key, encode_dataset(dataset))


async def load(store: ObjectStore, key: str) -> DataSet:
    """The data set that was committed under ``key``; ``NotFound``, ``Corrupt``."""
    return decode_dataset(await store.get(key), key)


def encode_dataset(dataset: DataSet) -> bytes:
    """The manifest's bytes."""
    return to_json(
        {
            "format": FORMAT,
            "version": VERSION,
            "features": dataset.features,
            "rows_in": dataset.rows_in,
            "skipped": dataset.skipped,
            "encoder": dataset.encoder,
            "train": _columns(dataset.train),
            "test": _columns(dataset.test),
            "input": {
                "key": [one.key for one in dataset.input],
                "size": [one.size for one in dataset.input],
                "etag": [one.etag for one in dataset.input],
            },
        }
    )


def decode_dataset(data: bytes, name: str) -> DataSet:
    """The data set of a manifest's bytes; ``Corrupt``, with ``name`` as its key, says which field is wrong."""
    fields = Fields.parsed(name, data)
    if fields.text("format") != FORMAT:
        raise fields.wrong("format", f"is not {FORMAT!r}")
    if fields.whole("version") != VERSION:
        raise fields.wrong("version", f"is not {VERSION}, the one that this program reads")
    fields.only("format", "version", "features", "rows_in", "skipped", "encoder", "train", "test", "input")
    train, test = _blocks(fields, "train"), _blocks(fields, "test")
    if len({block.key for block in train + test}) != len(train) + len(test):
        raise fields.wrong("train and test", "name a block twice")
    return DataSet(
        features=fields.whole("features"),
        train=train,
        test=test,
        rows_in=fields.whole("rows_in"),
        skipped=fields.whole("skipped"),
        encoder=fields.text("encoder"),
        input=_input(fields.section("input")),
    )


def _columns(blocks: tuple[BlockInfo, ...]) -> Mapping[str, JSON]:
    return {
        "key": [one.key for one in blocks],
        "rows": [one.rows for one in blocks],
        "nnz": [one.nnz for one in blocks],
        "size": [one.size for one in blocks],
        "crc": [one.crc for one in blocks],
    }


def _blocks(fields: Fields, field: str) -> tuple[BlockInfo, ...]:
    section = fields.section(field)
    section.only("key", "rows", "nnz", "size", "crc")
    keys = _keys(section)
    columns = [_column(section, name, len(keys)) for name in ("rows", "nnz", "size", "crc")]
    return tuple(BlockInfo(key, *numbers) for key, *numbers in zip(keys, *columns, strict=True))


def _input(section: Fields) -> tuple[ObjectInfo, ...]:
    section.only("key", "size", "etag")
    keys = section.texts("key")
    etags = section.texts("etag")
    if len(etags) != len(keys):
        raise section.wrong("etag", f"has {len(etags)} entries where key has {len(keys)}")
    return tuple(map(ObjectInfo, keys, _column(section, "size", len(keys)), etags))


def _column(section: Fields, field: str, length: int) -> tuple[int, ...]:
    numbers = section.wholes(field)
    if len(numbers) != length:
        raise section.wrong(field, f"has {len(numbers)} entries where key has {length}")
    return numbers


def _keys(section: Fields) -> tuple[str, ...]:
    keys = section.texts("key")
    for key in keys:
        try:
            checked(key)
        except StoreError as error:
            raise section.wrong("key", f"holds {key!r}: {error.problem}") from error
    return keys
