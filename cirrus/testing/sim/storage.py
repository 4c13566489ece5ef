"""The object store of a simulation: the true one in memory, reached over a network that fails.

A request that was sent takes effect whether its sender still lives or not; its answer may be lost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, TypeVar

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.base import ObjectInfo
from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.world import Died, Process, Wait

T = TypeVar("T")

SPOILT = b"?"
"""The first byte of a snapshot that is broken."""


class Watcher(Protocol):
    """Who is told of everything that happens in the store."""

    def written(self, process: Process, key: str, data: bytes) -> None:
        """A write has taken effect."""
        ...

    def read(self, process: Process, key: str) -> None:
        """An object was read."""
        ...


def at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("it waits")


class SimStore:
    """The store as one process reaches it; ``fragile``: the process may be killed at its writes."""

    def __init__(
        self, process: Process, objects: MemoryStore, plan: FaultPlan, watcher: Watcher, *, fragile: bool = False
    ) -> None:
        self._process = process
        self._objects = objects
        self._plan = plan
        self._watcher = watcher
        self._fragile = fragile

    @property
    def url(self) -> str:
        """Where it is."""
        return self._objects.url

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        def work() -> bytes:
            data = at_once(self._objects.get(key, start, stop))
            self._watcher.read(self._process, key)
            return data

        return await self._ask(key, work)

    async def info(self, key: str) -> ObjectInfo:
        return await self._ask(key, lambda: at_once(self._objects.info(key)))

    async def put(self, key: str, data: bytes | memoryview) -> str:
        return await self._write(key, data, lambda held: at_once(self._objects.put(key, held)))

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        work = partial(self._objects.put_if_absent, key)
        return await self._write(key, data, lambda held: at_once(work(held)), conditional=True)

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        work = partial(self._objects.replace_if, key, etag=etag)
        return await self._write(key, data, lambda held: at_once(work(held)), conditional=True)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        async def found() -> list[ObjectInfo]:
            return [info async for info in self._objects.list(prefix)]

        for info in await self._ask(prefix, lambda: at_once(found())):
            yield info

    async def delete(self, key: str) -> None:
        await self._ask(key, lambda: at_once(self._objects.delete(key)))

    async def close(self) -> None:
        """Nothing."""

    async def _write(
        self, key: str, data: bytes | memoryview, work: Callable[[bytes], str], *, conditional: bool = False
    ) -> str:
        held, process, world = bytes(data), self._process, self._process.world

        def written() -> str:
            etag = work(held)
            self._watcher.written(process, key, held)
            if "/shards/" in key and self._strikes(self._plan.corrupt):
                world.after(world.chance.between(0.0, 5.0), lambda: _spoil(self._objects, key, held))
            return etag

        if self._fragile and self._strikes(self._plan.kill_at_write):
            process.world.tell(process.name, f"is killed as it writes {key}")
            if world.chance.hits(0.5):
                world.after(0.05, lambda: _regardless(written))
            process.after(0.0, process.kill)
            raise Died
        return await self._ask(key, written, conditional=conditional and "/shards/" not in key)

    async def _ask(self, key: str, work: Callable[[], T], *, conditional: bool = False) -> T:
        """Send a request, let it take effect, and wait for the answer."""
        process, world, chance = self._process, self._process.world, self._process.world.chance
        if not process.alive:
            raise Died
        if self._strikes(self._plan.store_error):
            await process.sleep(0.05)
            raise StoreError(key, "503, slow down")
        echoes = conditional and self._strikes(self._plan.store_echo)
        slow = chance.between(1.0, 20.0) if self._strikes(self._plan.store_slow) else 0.0
        silent = self._strikes(self._plan.store_silent)
        answer: Wait[T] = Wait()

        def effect() -> None:
            try:
                found = work()
            except StoreError as error:
                answer.refuse(error)
                return
            if silent:
                answer.refuse(StoreError(key, "the answer was lost"))
            elif echoes:
                answer.refuse(Conflict(key, "it is there already"))
            else:
                answer.keep(found)

        world.after(0.005 + 0.02 * chance.number() + slow, effect)
        return await answer

    def _strikes(self, probability: float) -> bool:
        world = self._process.world
        return world.now < self._plan.until and world.chance.hits(probability)


def is_sound(objects: MemoryStore, key: str) -> bool:
    """Whether a snapshot is there and not spoilt."""
    try:
        return at_once(objects.get(key, 0, 1)) != SPOILT
    except NotFound:
        return False


def _spoil(objects: MemoryStore, key: str, held: bytes) -> None:
    """Flip a bit of a snapshot that is the newest, unless the one before is spoilt: one of two may break."""

    async def keys() -> list[str]:
        return [info.key async for info in objects.list(key.rpartition("/")[0] + "/")]

    found = at_once(keys())
    if len(found) < 2 or found[-1] != key or not is_sound(objects, found[-2]):
        return
    at_once(objects.put(key, SPOILT + held[1:]))


def _regardless(work: Callable[[], object]) -> None:
    with suppress(StoreError):  # nobody is there to hear it
        work()
