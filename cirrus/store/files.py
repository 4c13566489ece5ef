"""A store in a folder of this machine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cirrus.errors import StoreError
from cirrus.store.base import ObjectInfo
from cirrus.store.folder import Folder
from cirrus.store.keys import checked_prefix
from cirrus.store.manners import Begin, keep_up

T = TypeVar("T")

THREADS = 8
"""Files that one store reads or writes at the same time."""


class FilesStore:
    """Objects as files below ``root``, for all processes of this machine; also reads folders that others filled.

    Nothing is made before the first write: not ``root``, not a thread. Close it, or its threads stay. ``begin`` is what
    each of them does first.
    """

    def __init__(self, root: Path, begin: Begin = keep_up) -> None:
        self._root = root.absolute()
        self._folder = Folder(self._root)
        self._begin = begin
        self._threads: ThreadPoolExecutor | None = None
        self._jobs: set[Future[Any]] = set()
        self._alive: list[threading.Thread] = []
        self._closed = False

    @property
    def url(self) -> str:
        """``file://`` and the path."""
        return self._root.as_uri()

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        return await self._off_loop(partial(self._folder.read, key, start, stop))

    async def info(self, key: str) -> ObjectInfo:
        return await self._off_loop(partial(self._folder.info, key))

    async def put(self, key: str, data: bytes | memoryview) -> str:
        return await self._off_loop(partial(self._folder.put, key, data))

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        return await self._off_loop(partial(self._folder.put_if_absent, key, data))

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        return await self._off_loop(partial(self._folder.replace_if, key, data, etag))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects below the prefix; what is written or deleted meanwhile may or may not be among them."""
        pending: list[ObjectInfo | str] = [checked_prefix(prefix).rpartition("/")[0] + "/"]
        while pending:
            one = pending.pop()
            if isinstance(one, ObjectInfo):
                yield one
            else:
                found = await self._off_loop(partial(self._folder.entries, one[:-1], prefix))
                pending.extend(reversed(found))

    async def delete(self, key: str) -> None:
        await self._off_loop(partial(self._folder.delete, key))

    async def close(self) -> None:
        """Wait for what is under way, then end the threads."""
        self._closed = True
        threads, self._threads = self._threads, None
        if threads is None:
            return
        try:
            await asyncio.gather(*map(asyncio.wrap_future, tuple(self._jobs)), return_exceptions=True)
        finally:
            threads.shutdown(wait=False)
        while any(thread.is_alive() for thread in self._alive):  # noqa: ASYNC110  a thread's end makes no event
            await asyncio.sleep(0)  # noqa: TID251  no time passes: the loop turns, where joining would block it
        self._alive.clear()

    async def _off_loop(self, work: Callable[[], T]) -> T:
        if self._closed:
            raise StoreError(self.url, "this store is closed")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "cirrus-store", self._note_thread)
        job = self._threads.submit(work)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return await asyncio.wrap_future(job)

    def _note_thread(self) -> None:
        self._alive.append(threading.current_thread())
        self._begin()
