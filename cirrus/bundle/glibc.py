"""Which machine a compiled file is for, and which version of the C library it needs, read from the file itself."""

from __future__ import annotations

import re
import struct

from cirrus.errors import WireError

MAGIC = b"\x7fELF\x02\x01"
"""64 bits, the lowest byte first, as both of Lambda's machines have it."""

MACHINES = {62: "x86_64", 183: "arm64"}
VERNEED = 0x6FFFFFFE
_VERSION = re.compile(rb"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")

Version = tuple[int, int]


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
    except (struct.error, IndexError) as error:
        raise WireError(f"a compiled file cannot be read: {error}") from error


def _versions(data: bytes) -> list[Version]:
    """Every version of glibc that the sections of needed versions name."""
    start, = struct.unpack_from("<Q", data, 40)
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + number * size) for number in range(count)]
    found = []
    for _, kind, _, _, offset, _, link, libraries, _, _ in sections:
        if kind == VERNEED:
            names = sections[link][4]
            found += [one for name in _names(data, offset, libraries) if (one := _glibc(data, names + name))]
    return found


def _names(data: bytes, offset: int, libraries: int) -> list[int]:
    """Where the names of the versions stand in the section of texts."""
    found = []
    for _ in range(libraries):
        _, count, _, first, following = struct.unpack_from("<HHIII", data, offset)
        place = offset + first
        for _ in range(count):
            _, _, _, name, after = struct.unpack_from("<IHHII", data, place)
            found.append(name)
            place += after
        offset += following
    return found


def _glibc(data: bytes, place: int) -> Version | None:
    match = _VERSION.match(data, place)
    return (int(match[1]), int(match[2])) if match else None
