"""How prepared rows lie in an object: a fixed header, then the arrays as they are, read without copying them.

All numbers are little-endian. Header, 32 bytes: magic (8 bytes), version (uint16), flags (uint16; bit 0: the block
holds values, else each is 1), CRC-32 of everything but these four bytes (uint32), rows (uint64), values (uint64).
Then labels (float32), row beginnings (uint32, one more than rows), feature numbers (uint32) and, with bit 0, values
(float32), each filled up with zeros to a multiple of 8 bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cirrus.errors import Corrupt
from cirrus.learn.rows import Rows

MAGIC = b"cirrusB\n"
VERSION = 1
HEADER = struct.Struct("<8sHHIQQ")
CHECKSUM = slice(12, 16)
HAS_VALUES = 1
MOST = 2**32 - 1
"""Values that one block can hold: row beginnings are stored in 32 bits."""


def encode_block(rows: Rows) -> bytes:
    """The rows as bytes. Values are left out where each is 1; NaN and infinity are kept as they are."""
    nnz = len(rows.indices)
    assert len(rows.indptr) == len(rows) + 1
    assert rows.indptr[0] == 0
    assert rows.indptr[-1] == nnz <= MOST
    values = None if rows.values is None or bool(np.all(rows.values == 1)) else rows.values
    header = HEADER.pack(MAGIC, VERSION, 0 if values is None else HAS_VALUES, 0, len(rows), nnz)
    parts: list[bytes | memoryview] = [header]
    for array, dtype in ((rows.labels, "<f4"), (rows.indptr, "<u4"), (rows.indices, "<u4"), (values, "<f4")):
        if array is not None:
            stored = np.ascontiguousarray(array, dtype)
            parts += [stored.data, bytes(-stored.nbytes % 8)]
    checksum = 0
    for part in (header[: CHECKSUM.start], header[CHECKSUM.stop :], *parts[1:]):
        checksum = zlib.crc32(part, checksum)
    parts[0] = header[: CHECKSUM.start] + checksum.to_bytes(4, "little") + header[CHECKSUM.stop :]
    return b"".join(parts)


def decode_block(data: bytes | memoryview, name: str) -> Rows:
    """The rows that ``encode_block`` made ``data`` of; all but ``indptr`` are read-only views of ``data``.

    Whatever is wrong with ``data`` is ``Corrupt``, with ``name`` as its key. Feature numbers may be any uint32.
    """
    layout = _layout(data, name)
    if len(data) != layout.size:
        raise Corrupt(name, f"{len(data)} bytes where the header announces {layout.size}")
    if checksum_of(data) != layout.checksum:
        raise Corrupt(name, "the checksum does not match")
    labels, beginnings, indices, values = layout.arrays(data)
    indptr = beginnings.astype(np.int64)
    if indptr[0] != 0 or indptr[-1] != layout.nnz or bool(np.any(indptr[1:] < indptr[:-1])):
        raise Corrupt(name, "the row beginnings do not ascend from 0 to the number of values")
    return Rows(labels, indptr, indices, values)


def checksum_of(data: bytes | memoryview) -> int:
    """The CRC-32 that an encoded block of these bytes must carry."""
    view = memoryview(data)
    return zlib.crc32(view[CHECKSUM.stop :], zlib.crc32(view[: CHECKSUM.start]))


def stored_checksum(data: bytes | memoryview) -> int:
    """The CRC-32 that an encoded block carries; ``decode_block`` makes sure that it is the right one."""
    return int.from_bytes(data[CHECKSUM], "little")


@dataclass(frozen=True, slots=True)
class _Layout:
    flags: int
    checksum: int
    rows: int
    nnz: int

    @property
    def counts(self) -> tuple[int, int, int, int]:
        return self.rows, self.rows + 1, self.nnz, self.nnz if self.flags & HAS_VALUES else 0

    @property
    def size(self) -> int:
        return HEADER.size + sum(_padded(count) for count in self.counts)

    def arrays(
        self, data: bytes | memoryview
    ) -> tuple[NDArray[np.float32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32] | None]:
        rows, beginnings, nnz, values = self.counts
        at = HEADER.size
        labels = np.ndarray((rows,), "<f4", data, at)
        at += _padded(rows)
        indptr = np.ndarray((beginnings,), "<u4", data, at)
        at += _padded(beginnings)
        indices = np.ndarray((nnz,), "<u4", data, at)
        at += _padded(nnz)
        return labels, indptr, indices, np.ndarray((values,), "<f4", data, at) if self.flags & HAS_VALUES else None


def _padded(count: int) -> int:
    return (4 * count + 7) // 8 * 8


def _layout(data: bytes | memoryview, name: str) -> _Layout:
    if len(data) < HEADER.size:
        raise Corrupt(name, f"{len(data)} bytes are too few for a block")
    magic, version, flags, checksum, rows, nnz = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise Corrupt(name, "it is not a block of rows")
    if version != VERSION:
        raise Corrupt(name, f"version {version} of the block format; this program reads version {VERSION}")
    if flags & ~HAS_VALUES:
        raise Corrupt(name, f"unknown flags {flags:#x}")
    return _Layout(flags, checksum, rows, nnz)
