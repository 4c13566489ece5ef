"""A store in the memory of this process, for tests and for trying things out."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cirrus.errors import Conflict, NotFound
from cirrus.store.base import ObjectInfo
from cirrus.store.keys import checked, checked_prefix, checked_range


class MemoryStore:
    """Objects in a dictionary: they last as long as this value, and other processes cannot reach them."""

    def __init__(self, name: str = "store") -> None:
        self._name = name
        self._objects: dict[str, tuple[bytes, str]] = {}
        self._writes = 0

    @property
    def url(self) -> str:
        """``memory:`` and the name; nobody can open it from there, it only tells people which store is meant."""
        return f"memory:{self._name}"

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        checked_range(key, start, stop)
        return self._object(key)[0][start:stop]

    async def info(self, key: str) -> ObjectInfo:
        data, etag = self._object(key)
        return ObjectInfo(key, len(data), etag)

    async def put(self, key: str, data: bytes | memoryview) -> str:
        return self._write(checked(key), data)

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        if checked(key) in self._objects:
            raise Conflict(key, "there is one already")
        return self._write(key, data)

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        if self._objects.get(checked(key), (b"", None))[1] != etag:
            raise Conflict(key, f"it is not, or no longer, {etag}")
        return self._write(key, data)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        checked_prefix(prefix)
        found = sorted((key, *kept) for key, kept in self._objects.items() if key.startswith(prefix))
        for key, data, etag in found:
            yield ObjectInfo(key, len(data), etag)

    async def delete(self, key: str) -> None:
        self._objects.pop(checked(key), None)

    async def close(self) -> None:
        """Nothing: the objects stay, so that the next user of this value finds them."""

    def _object(self, key: str) -> tuple[bytes, str]:
        try:
            return self._objects[checked(key)]
        except KeyError:
            raise NotFound(key) from None

    def _write(self, key: str, data: bytes | memoryview) -> str:
        self._writes += 1
        etag = str(self._writes)
        self._objects[key] = (bytes(data), etag)
        return etag
