"""A store between a program and the true one, that is slow, refuses, or kills who writes, as a test has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from cirrus.store.base import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the store: the ``number``-th request, from 1, or the ``write``-th write."""

    number: int
    write: int
    kind: Literal["get", "info", "put", "put_if_absent", "replace_if", "list", "delete"]
    key: str
    size: int

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.kind in ("put", "put_if_absent", "replace_if", "delete")


Meddling = Callable[[Request], Awaitable[None]]
"""What happens at a request: it may wait, raise a ``StoreError``, or end the process."""


async def nothing(_request: Request) -> None:
    """Leave the request alone."""


class MeddledStore:
    """Calls ``before`` and ``after`` around every request to ``inner``; what they raise is what the asker sees."""

    def __init__(self, inner: ObjectStore, before: Meddling = nothing, after: Meddling = nothing) -> None:
        self.requests: list[Request] = []
        self._inner = inner
        self._before = before
        self._after = after
        self._writes = 0

    @property
    def url(self) -> str:
        """The true store's, at which others find it unmeddled with."""
        return self._inner.url

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        request = await self._begin("get", key, 0)
        data = await self._inner.get(key, start, stop)
        await self._after(request)
        return data

    async def info(self, key: str) -> ObjectInfo:
        request = await self._begin("info", key, 0)
        info = await self._inner.info(key)
        await self._after(request)
        return info

    async def put(self, key: str, data: bytes | memoryview) -> str:
        request = await self._begin("put", key, len(data))
        etag = await self._inner.put(key, data)
        await self._after(request)
        return etag

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        request = await self._begin("put_if_absent", key, len(data))
        etag = await self._inner.put_if_absent(key, data)
        await self._after(request)
        return etag

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        request = await self._begin("replace_if", key, len(data))
        new = await self._inner.replace_if(key, data, etag)
        await self._after(request)
        return new

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        await self._begin("list", prefix, 0)
        async for info in self._inner.list(prefix):
            yield info

    async def delete(self, key: str) -> None:
        request = await self._begin("delete", key, 0)
        await self._inner.delete(key)
        await self._after(request)

    async def close(self) -> None:
        await self._inner.close()

    async def _begin(
        self, kind: Literal["get", "info", "put", "put_if_absent", "replace_if", "list", "delete"], key: str, size: int
    ) -> Request:
        request = Request(len(self.requests) + 1, self._writes + 1, kind, key, size)
        self._writes += request.writes
        self.requests.append(request)
        await self._before(request)
        return request
