"""Snapshots of a shard: a JSON header and raw arrays in one object, and which of a row of them is the newest sound one.

All numbers are little-endian. 32 bytes: magic (8 bytes), version (uint16), zeros (2 bytes), CRC-32 of everything but
these four bytes (uint32), length of the JSON header (uint64), length of the whole (uint64). The JSON header tells each
array's name, dtype and shape. The header and each array are filled up with zeros to a multiple of 8 bytes, so where
an array begins follows from the lengths before it.
"""

from __future__ import annotations

import asyncio
import math
import re
import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cirrus.errors import Corrupt, NotFound
from cirrus.store.base import ObjectStore
from cirrus.store.fields import JSON, Fields, to_json

MAGIC = b"cirrusS\n"
VERSION = 1
FIXED = struct.Struct("<8sHHIQQ")
CHECKSUM = slice(12, 16)
BEGINNING = FIXED.size
"""Bytes at whose checksum a snapshot is known from all others."""

DTYPES = ("<f4", "<f8", "<i4", "<i8", "<u4", "<u8", "|u1")
LONGEST_HEADER = 64 * 2**20
MOST_ARRAYS = 4096
MOST_DIMENSIONS = 8
LARGEST = 2**40
"""Elements that an array may have, sides of length 0 counted as 1: what numpy accepts even for an empty array."""
NUMBER = re.compile(r"[0-9]{12}")

Array = NDArray[Any]
P = ParamSpec("P")
T = TypeVar("T")


class Offload(Protocol):
    """Runs a function that computes for a while where it holds nobody up, as ``asyncio.to_thread`` does."""

    async def __call__(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What ``work`` returns or raises."""
        ...


@dataclass(frozen=True, slots=True)
class Draft:
    """A snapshot without its checksum, which ``sealed`` computes. ``places``: its arrays, as views of ``data``."""

    data: memoryview
    places: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as it was read; ``arrays`` are read-only views of its bytes."""

    header: Mapping[str, JSON]
    arrays: Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest sound snapshot, if there is one, and its number (-1 without).

    ``skipped``: newer ones that cannot be read, newest first. ``following``: the first number that no object bears.
    """

    snapshot: Snapshot | None = None
    number: int = -1
    skipped: tuple[Corrupt, ...] = field(default=())
    following: int = 0


def outlined(header: Mapping[str, JSON], arrays: Mapping[str, Array]) -> Draft:
    """All of a draft but its arrays, which are to be copied to ``places``; here only their types and shapes count.

    ``ValueError`` for a dtype that is not stored, for NaN in the header, and for more than the format can take.
    """
    described = [{"name": name, "dtype": _stored(name, one).str, "shape": one.shape} for name, one in arrays.items()]
    text = to_json({"arrays": described, "header": header})
    if len(text) > LONGEST_HEADER or len(arrays) > MOST_ARRAYS:
        raise ValueError(f"a header of {len(text)} bytes and {len(arrays)} arrays is more than a snapshot can hold")
    total = FIXED.size + _padded(len(text)) + sum(_padded(one.nbytes) for one in arrays.values())
    data = np.empty(total, np.uint8).data  # numpy asks for huge pages: four times as quick as a bytearray
    FIXED.pack_into(data, 0, MAGIC, VERSION, 0, 0, len(text), total)
    data[FIXED.size : FIXED.size + len(text)] = text
    at = _filled_up(data, FIXED.size, len(text))
    places: dict[str, Array] = {}
    for name, one in arrays.items():
        places[name] = np.ndarray(one.shape, _stored(name, one), data, at)
        at = _filled_up(data, at, one.nbytes)
    return Draft(data, places)


def drafted(header: Mapping[str, JSON], arrays: Mapping[str, Array]) -> Draft:
    """Copy header and arrays as they are now, after which the arrays may change again; errors as ``outlined``."""
    draft = outlined(header, arrays)
    for name, one in arrays.items():
        draft.places[name][...] = one
    return draft


def sealed(draft: Draft) -> memoryview:
    """Complete the draft in place: the slow half of the work, which lets other threads run; returns the bytes."""
    draft.data[CHECKSUM] = _checksum(draft.data).to_bytes(4, "little")
    return draft.data.toreadonly()


def beginning(draft: Draft) -> bytes:
    """The first ``BEGINNING`` bytes of a draft that is sealed."""
    return bytes(draft.data[:BEGINNING])


def encode_snapshot(header: Mapping[str, JSON], arrays: Mapping[str, Array]) -> memoryview:
    """The bytes of a snapshot: ``drafted`` and ``sealed`` at once, with one copy of the arrays."""
    return sealed(drafted(header, arrays))


def decode_snapshot(data: bytes | memoryview, name: str) -> Snapshot:
    """The snapshot of these bytes, its arrays as views of them; ``Corrupt`` with ``name`` as its key."""
    length = _checked_length(data, name)
    fields = Fields.parsed(name, memoryview(data)[FIXED.size : FIXED.size + length])
    fields.only("arrays", "header")
    described = fields.sections("arrays")
    if len(described) > MOST_ARRAYS:
        raise fields.wrong("arrays", f"has more than {MOST_ARRAYS} entries")
    arrays: dict[str, Array] = {}
    at = FIXED.size + _padded(length)
    for one in described:
        title, dtype, shape = _description(one)
        size = math.prod(shape) * dtype.itemsize
        if title in arrays:
            raise one.wrong("name", "is another array's already")
        if at + _padded(size) > len(data):
            raise one.wrong("shape", "is larger than the snapshot")
        arrays[title] = np.ndarray(shape, dtype, data, at)
        at += _padded(size)
    if at != len(data):
        raise Corrupt(name, f"{len(data)} bytes where the arrays end after {at}")
    return Snapshot(fields.mapping("header"), arrays)


async def save_snapshot(
    store: ObjectStore, prefix: str, number: int, draft: Draft, offload: Offload = asyncio.to_thread
) -> str:
    """Seal the draft off the loop and write it as the ``number``-th below ``prefix``; returns the key.

    ``Conflict`` if there is one of that number: a newer incarnation of the shard has written it.
    """
    key = snapshot_key(prefix, number)
    await store.put_if_absent(key, await offload(sealed, draft))
    return key


async def newest_snapshot(store: ObjectStore, prefix: str, offload: Offload = asyncio.to_thread) -> Newest:
    """Read the snapshots below ``prefix`` from the newest down to the first sound one."""
    numbers = await _numbers(store, prefix)
    following = numbers[-1] + 1 if numbers else 0
    skipped: list[Corrupt] = []
    for number in reversed(numbers):
        key = snapshot_key(prefix, number)
        try:
            snapshot = await offload(decode_snapshot, await store.get(key), key)
        except NotFound:
            continue  # pruned meanwhile
        except Corrupt as error:
            skipped.append(error)
        else:
            return Newest(snapshot, number, tuple(skipped), following)
    return Newest(skipped=tuple(skipped), following=following)


async def prune(store: ObjectStore, prefix: str, keep: int = 2, bad: Collection[str] = ()) -> tuple[str, ...]:
    """Delete all snapshots older than the newest ``keep``, of which those with a key in ``bad`` do not count.

    Returns the keys that are gone now.
    """
    assert keep > 0
    keys = [snapshot_key(prefix, number) for number in await _numbers(store, prefix)]
    good = [key for key in keys if key not in bad]
    gone = tuple(key for key in keys if len(good) >= keep and key < good[-keep])
    for key in gone:
        await store.delete(key)
    return gone


def snapshot_key(prefix: str, number: int) -> str:
    """The key of the ``number``-th snapshot below ``prefix``, which is a key itself; they sort as their numbers."""
    assert 0 <= number < 10**12
    return f"{prefix}/{number:012d}"


async def _numbers(store: ObjectStore, prefix: str) -> list[int]:
    names = [info.key.removeprefix(prefix + "/") async for info in store.list(prefix + "/")]
    return [int(name) for name in names if NUMBER.fullmatch(name)]


def _stored(name: str, array: Array) -> np.dtype[Any]:
    dtype = array.dtype.newbyteorder("<")
    if dtype.str not in DTYPES or array.ndim > MOST_DIMENSIONS:
        raise ValueError(f"array {name!r} of {array.dtype} in {array.ndim} dimensions; stored are {', '.join(DTYPES)}")
    return dtype


def _description(fields: Fields) -> tuple[str, np.dtype[Any], tuple[int, ...]]:
    fields.only("name", "dtype", "shape")
    dtype, shape = fields.text("dtype"), fields.wholes("shape")
    if dtype not in DTYPES:
        raise fields.wrong("dtype", f"is none of {', '.join(DTYPES)}")
    if len(shape) > MOST_DIMENSIONS or math.prod(max(side, 1) for side in shape) > LARGEST:
        raise fields.wrong("shape", "is larger than an array can be")
    return fields.text("name"), np.dtype(dtype), shape


def _filled_up(data: memoryview, at: int, size: int) -> int:
    end = at + _padded(size)
    data[at + size : end] = bytes(end - at - size)
    return end


def _padded(size: int) -> int:
    return (size + 7) // 8 * 8


def _checksum(data: bytes | memoryview) -> int:
    view = memoryview(data)
    return zlib.crc32(view[CHECKSUM.stop :], zlib.crc32(view[: CHECKSUM.start]))


def _checked_length(data: bytes | memoryview, name: str) -> int:
    if len(data) < FIXED.size:
        raise Corrupt(name, f"{len(data)} bytes are too few for a snapshot")
    magic, version, zeros, checksum, length, total = FIXED.unpack_from(data)
    if magic != MAGIC:
        raise Corrupt(name, "it is not a snapshot")
    if version != VERSION or zeros:
        raise Corrupt(name, f"version {version} of the snapshot format; this program reads version {VERSION}")
    if total != len(data) or length > min(LONGEST_HEADER, total - FIXED.size):
        raise Corrupt(name, f"{len(data)} bytes where the header announces {total}, {length} of them JSON")
    if _checksum(data) != checksum:
        raise Corrupt(name, "the checksum does not match")
    return int(length)
