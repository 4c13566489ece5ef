"""Gzip taken apart piece by piece: all members of a file, in bounded memory, without reading anything by itself."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from cirrus.errors import InputError

MAGIC = b"\x1f\x8b"
_GZIP_ONLY = 31  # zlib's window bits for a gzip header and trailer, checksum checked


class Gunzip:
    """Feeds compressed bytes in, gives plain bytes out, at most ``most`` at a time.

    Files of several members are read whole. Zero bytes after a member are padding. Everything else that is not gzip,
    or ends too early, is an ``InputError`` that names the object and the byte.
    """

    def __init__(self, name: str, most: int) -> None:
        """Begin the object that messages call ``name``."""
        self._name = name
        self._most = most
        self._member = zlib.decompressobj(_GZIP_ONLY)
        self._between = False
        self._read = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plain bytes that the next compressed ones stand for."""
        end = self._read + len(data)
        while data:
            if self._between:
                data = data.lstrip(b"\0")
                if not data:
                    break
                self._member = zlib.decompressobj(_GZIP_ONLY)
                self._between = False
            plain = self._step(data, end - len(data))
            data = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._between = self._member.eof
            if plain:
                yield plain
        while not self._member.eof and (plain := self._step(b"", end)):
            yield plain
        self._between = self._member.eof
        self._read = end

    def finish(self) -> None:
        """Say that there is nothing more to feed; a member that is not complete is an ``InputError``."""
        if not self._between:
            raise InputError(self._name, f"the gzip stream is cut off: it ends at byte {self._read}, within a member")

    def _step(self, data: bytes, place: int) -> bytes:
        try:
            return self._member.decompress(data, self._most)
        except zlib.error as error:
            raise InputError(self._name, f"no valid gzip data from byte {place} on: {error}") from error
