"""The small named values of a run: bytes with a version, written on condition, listed, deleted, perhaps expiring.

Pure: time is an argument, in seconds since the Unix epoch, since an expiry must mean the same after a restart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cirrus.checks import NAME
from cirrus.errors import Conflict, NotFound, StoreError

MAX_VALUE = 64 * 1024
MAX_TOTAL = 16 * 1024 * 1024
ABSENT = 0
"""The version to expect of a name that must not be there yet."""

_OVERHEAD = 256
"""Bytes that a value costs beside its own, so that many empty ones are limited as well."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value's name and bytes, its version (from 1, never given twice), and when it vanishes (``None``: never)."""

    name: str
    data: bytes
    version: int
    expires: float | None = None


class TooLarge(StoreError):
    """The value, or all values together, would exceed the limit."""


class Values:
    """Values by name. ``at`` is the time of the call; what has expired by then is not there."""

    def __init__(self, entries: Iterable[Value] = (), version: int = 0, most: int = MAX_TOTAL) -> None:
        self._entries = {one.name: one for one in entries}
        self._size = sum(_cost(one) for one in self._entries.values())
        self._most = most
        self.version = max([version, *(one.version for one in self._entries.values())])

    def get(self, name: str, at: float) -> Value:
        """The value of that name; ``NotFound``."""
        found = self._entries.get(name)
        if found is not None and found.expires is not None and found.expires <= at:
            self._drop(found)
            found = None
        if found is None:
            raise NotFound(name)
        return found

    def put(
        self, name: str, data: bytes, at: float, *, expected: int | None = None, expires: float | None = None
    ) -> int:
        """Write a value and return its version.

        ``expected``: the version that must be there, ``ABSENT`` for none, else ``Conflict``; ``None``: any.
        ``TooLarge`` where the value or the sum of all is; then the older value stays.
        """
        if not NAME.fullmatch(name):
            raise StoreError(name, f"a value's name must match {NAME.pattern}")
        old = self._expect(name, at, expected)
        new = Value(name, bytes(data), self.version + 1, expires)
        if len(data) > MAX_VALUE:
            raise TooLarge(name, f"{len(data)} bytes; at most {MAX_VALUE} are allowed")
        room = self._most - _cost(new) + (0 if old is None else _cost(old))
        if self._size > room:
            self._purge(at)
        if self._size > room:
            raise TooLarge(name, f"all values together would exceed {self._most} bytes")
        if old is not None:
            self._drop(old)
        self._entries[name] = new
        self._size += _cost(new)
        self.version = new.version
        return new.version

    def delete(self, name: str, at: float, *, expected: int | None = None) -> None:
        """Remove a value, if it has the expected version; nothing happens where there is none and none is expected."""
        old = self._expect(name, at, expected)
        if old is not None:
            self._drop(old)

    def names(self, prefix: str, at: float) -> tuple[Value, ...]:
        """All values whose name begins with ``prefix``, in ascending order of names."""
        self._purge(at)
        return tuple(self._entries[name] for name in sorted(self._entries) if name.startswith(prefix))

    def dump(self) -> tuple[Value, ...]:
        """All values, for a snapshot; ``Values(dump, version)`` has the same."""
        return tuple(self._entries.values())

    def _expect(self, name: str, at: float, expected: int | None) -> Value | None:
        try:
            old: Value | None = self.get(name, at)
        except NotFound:
            old = None
        version = ABSENT if old is None else old.version
        if expected is not None and expected != version:
            raise Conflict(name, f"version {expected} was expected, version {version} is there")
        return old

    def _drop(self, value: Value) -> None:
        del self._entries[value.name]
        self._size -= _cost(value)

    def _purge(self, at: float) -> None:
        for one in [one for one in self._entries.values() if one.expires is not None and one.expires <= at]:
            self._drop(one)


def _cost(value: Value) -> int:
    return _OVERHEAD + len(value.data)
