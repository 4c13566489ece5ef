"""The port to objects that outlast every process: what a store must do, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """An object's key, its size in bytes, and its ETag: a text that changes whenever the bytes do."""

    key: str
    size: int
    etag: str


class ObjectStore(Protocol):
    """Objects by key: bytes that are written whole, read whole or in ranges, and replaced only on condition.

    Keys are relative, ``/``-separated, without empty, ``.`` or ``..`` parts. Errors are ``NotFound``, ``Conflict`` and
    ``StoreError``. A write that has returned survives a crash; one that has not is seen whole or not at all.
    """

    @property
    def url(self) -> str:
        """Where it is, as a text from which another process can open the same store."""
        ...

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes from ``start`` up to ``stop`` (the end), fewer where the object is shorter; ``NotFound``."""
        ...

    async def info(self, key: str) -> ObjectInfo:
        """Size and ETag; ``NotFound``."""
        ...

    async def put(self, key: str, data: bytes | memoryview) -> str:
        """Write the object whole, over an older one if there is one; returns the ETag."""
        ...

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        """Write the object unless there is one of that key already: ``Conflict``; returns the ETag."""
        ...

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        """Write the object if its ETag is ``etag``, else ``Conflict`` (also for a missing one); return the new ETag."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with ``prefix``, in ascending order of keys."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object; nothing happens where there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...
