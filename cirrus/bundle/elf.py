"""Compiled files: for which machine, which version of the C library they need, and what of them is never loaded.

All is read from the program headers, as the system's loader does.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from cirrus.errors import WireError

MAGIC = b"\x7fELF\x02\x01"
"""64 bits, the lowest byte first, as both of Lambda's machines have it."""

MACHINES = {62: "x86_64", 183: "arm64"}
LOAD, DYNAMIC = 1, 2
STRINGS, NEEDED_VERSIONS, NEEDED_COUNT = 5, 0x6FFFFFFE, 0x6FFFFFFF
_VERSION = re.compile(rb"GLIBC_(\d+)\.(\d+)")

Version = tuple[int, int]


class _Segment(NamedTuple):
    """A program header: what it is, where it is in the file and in memory, and how many bytes the file has of it."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    size: int


def machine(data: bytes) -> str | None:
    """``x86_64`` or ``arm64``, another machine's number as a text, or ``None`` for what is no such file."""
    if not data.startswith(MAGIC) or len(data) < 64:
        return None
    number: int = struct.unpack_from("<H", data, 18)[0]
    return MACHINES.get(number, str(number))


def needed(data: bytes) -> Version:
    """The newest version of glibc among those that the file's symbols ask for; (0, 0) where it asks for none.

    ``WireError`` for a file that is cut or contradicts itself.
    """
    try:
        return max(_versions(data), default=(0, 0))
    except (struct.error, StopIteration, KeyError) as error:
        raise WireError(f"a compiled file cannot be read: {error!r}") from error


def loaded(data: bytes) -> bytes:
    """The file without what stands behind all that is ever loaded: symbols for debuggers, and the list of sections."""
    end = max((one.offset + one.size for one in _segments(data)), default=len(data))
    head = bytearray(data[:end])
    struct.pack_into("<Q", head, 40, 0)  # where the sections are
    struct.pack_into("<HH", head, 60, 0, 0)  # how many, and which has their names
    return bytes(head)


def _segments(data: bytes) -> list[_Segment]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    found = [_Segment(*struct.unpack_from("<IIQQQQ", data, start + number * size)) for number in range(count)]
    if any(one.offset + one.size > len(data) for one in found):
        raise struct.error("it ends before its segments do")
    return found


def _versions(data: bytes) -> Iterator[Version]:
    segments = _segments(data)
    dynamic = next((one for one in segments if one.kind == DYNAMIC), None)
    if dynamic is None:
        return
    entries = dict(struct.iter_unpack("<QQ", data[dynamic.offset : dynamic.offset + dynamic.size // 16 * 16]))
    if NEEDED_VERSIONS not in entries:
        return
    names = _place(segments, entries[STRINGS])
    offset = _place(segments, entries[NEEDED_VERSIONS])
    for _ in range(entries[NEEDED_COUNT]):
        _, count, _, first, following = struct.unpack_from("<HHIII", data, offset)
        place = offset + first
        for _ in range(count):
            _, _, _, name, after = struct.unpack_from("<IHHII", data, place)
            found = _VERSION.match(data, names + name)
            if found:
                yield int(found[1]), int(found[2])
            place += after
        offset += following


def _place(segments: list[_Segment], address: int) -> int:
    """Where in the file stands what is at that address in memory."""
    home = next(one for one in segments if one.kind == LOAD and one.address <= address < one.address + one.size)
    return address - home.address + home.offset
