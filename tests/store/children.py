"""What the tests of the store of files run as processes of their own, to be killed or to race.

``python -m tests.store.children crash ROOT OPERATION kill|fail``: write an object once for each call of the operating
system that the write consists of, and die by SIGKILL, or get an error, at that call; a line of JSON tells the outcome.
``... stream ROOT``: write numbers for ever, and print each one after its write has returned.
``... count ROOT TIMES``: add one to a number that often, by compare-and-set.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.files import FilesStore
from cirrus.store.folder import OWN

OLD = b"old" * 20_000
NEW = b"newer" * 20_000
CALLS: tuple[tuple[ModuleType, str], ...] = (
    *((os, name) for name in ("open", "write", "utime", "fsync", "replace", "link", "unlink", "mkdir", "close")),
    (fcntl, "flock"),
)


class Saboteur:
    """Counts calls of the operating system, and at the ``fatal``-th lets the process die or the call fail."""

    def __init__(self, fatal: int, how: str) -> None:
        self.left = fatal
        self.how = how

    def install(self) -> None:
        for module, name in CALLS:
            setattr(module, name, self.wrapped(name, getattr(module, name)))

    def wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left:
                return call(*args, **kwargs)
            folder = name == "fsync" and Path(f"/proc/self/fd/{args[0]}").is_dir()
            os.truncate(2, 0)
            sys.stderr.write(name + (" folder" if folder else ""))
            sys.stderr.flush()
            if name == "write":
                call(args[0], args[1][: len(args[1]) // 2])  # half of it reaches the file
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "close":
                call(*args)
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        return counted


async def written(root: Path, operation: str, etag: str) -> None:
    store = FilesStore(root)
    attempts: dict[str, Callable[[], Awaitable[str]]] = {
        "put": lambda: store.put("folder/a", NEW),
        "put_if_absent": lambda: store.put_if_absent("folder/a", NEW),
        "replace_if": lambda: store.replace_if("folder/a", NEW, etag),
    }
    try:
        await attempts[operation]()
    finally:
        await store.close()


async def prepared(root: Path, operation: str) -> str:
    if operation == "put_if_absent":
        return ""
    store = FilesStore(root)
    try:
        return await store.put("folder/a", OLD)
    finally:
        await store.close()


async def seen(root: Path) -> tuple[str, list[str], list[str]]:
    """Which object is there, what a listing shows, and what is left in the store's own folder by a later write."""
    store = FilesStore(root)
    try:
        data = await store.get("folder/a")
        state = "old" if data == OLD else "new" if data == NEW else "half"
    except NotFound:
        state = "none"
    listed = [info.key async for info in store.list("")]
    await store.put("later", b"x")
    await store.close()
    return state, listed, [path.name for path in (root / OWN).iterdir()]


def doomed(saboteur: Saboteur, note: Path, work: Coroutine[Any, Any, None]) -> None:
    ended = 1
    try:
        os.dup2(os.open(note, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
        saboteur.install()
        asyncio.run(work)
        ended = 0
    except StoreError:
        ended = 3
    finally:
        os._exit(ended)


def crash(root: Path, operation: str, how: str) -> None:
    for fatal in itertools.count(1):
        shutil.rmtree(root, ignore_errors=True)
        etag = asyncio.run(prepared(root, operation))
        note = root.with_suffix(".note")
        child = os.fork()
        if not child:
            doomed(Saboteur(fatal, how), note, written(root, operation, etag))
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        state, listed, own = asyncio.run(seen(root))
        at = note.read_text()
        print(json.dumps({"at": at, "ended": ended, "state": state, "listed": listed, "own": own}), flush=True)
        if not at:
            return


async def stream(root: Path) -> None:
    store = FilesStore(root)
    for number in itertools.count(1):
        await store.put("a", b"%09d" % number * 20_000)
        print(number, flush=True)


async def count(root: Path, times: int) -> None:
    store = FilesStore(root)
    done = 0
    while done < times:
        etag = (await store.info("count")).etag
        value = int(await store.get("count"))
        try:
            await store.replace_if("count", b"%d" % (value + 1), etag)
        except Conflict:
            continue
        done += 1
    await store.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["crash", folder, operation, how]:
            crash(Path(folder), operation, how)
        case ["stream", folder]:
            asyncio.run(stream(Path(folder)))
        case ["count", folder, times]:
            asyncio.run(count(Path(folder), int(times)))
        case unknown:
            sys.exit(f"do not know {unknown}")
