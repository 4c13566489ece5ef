"""A store that counts the requests which its provider bills: those that read, and those that write or list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from cirrus.store.base import ObjectInfo, ObjectStore

PAGE = 1000  # names in one answer of a list
PART = 16 << 20  # bytes of one request; what is larger is sent in parts, between a beginning and an end

Count = Callable[[int, int], None]
"""Is told of so many more requests that read, and that write or list."""


class Counted:
    """Passes everything on to ``inner``, and tells ``count``; what is tried again there counts once."""

    def __init__(self, inner: ObjectStore, count: Count) -> None:
        self._inner = inner
        self._count = count

    @property
    def url(self) -> str:
        return self._inner.url

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        self._count(1, 0)
        return await self._inner.get(key, start, stop)

    async def info(self, key: str) -> ObjectInfo:
        self._count(1, 0)
        return await self._inner.info(key)

    async def put(self, key: str, data: bytes | memoryview) -> str:
        self._count(0, _writes(data))
        return await self._inner.put(key, data)

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        self._count(0, _writes(data))
        return await self._inner.put_if_absent(key, data)

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        self._count(0, _writes(data))
        return await self._inner.replace_if(key, data, etag)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects below the prefix; a request for every thousand, begun ones too."""
        seen = 0
        self._count(0, 1)
        async for info in self._inner.list(prefix):
            seen += 1
            if seen % PAGE == 0:
                self._count(0, 1)
            yield info

    async def delete(self, key: str) -> None:
        """Remove the object, which is free."""
        await self._inner.delete(key)

    async def close(self) -> None:
        await self._inner.close()


def _writes(data: bytes | memoryview) -> int:
    size = memoryview(data).nbytes
    return 1 if size <= PART else 2 + -(-size // PART)
