"""A store that kills who writes does so at exactly the write that was named, and the dead do nothing more."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import cirrus
from cirrus.cloud.places import local
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.store.memory import MemoryStore
from cirrus.testing.crashing import Crashed, CrashingStore, When
from tests.chaos.ground import Oracle

TREE = Path(__file__).parents[2]
WRITES = 5


async def program(store: ObjectStore) -> None:
    """Four kinds of writes, with questions between them."""
    await store.put("a", b"1")
    etag = await store.put_if_absent("b", b"2")
    await store.get("a")
    await store.replace_if("b", b"3", etag)
    await store.info("b")
    await store.delete("a")
    await store.put("c", b"4")


async def contents(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: await store.get(info.key) async for info in store.list("")}


AFTER: list[dict[str, bytes]] = [
    {},
    {"a": b"1"},
    {"a": b"1", "b": b"2"},
    {"a": b"1", "b": b"3"},
    {"b": b"3"},
    {"b": b"3", "c": b"4"},
]


async def test_it_counts_the_writes() -> None:
    store = CrashingStore(MemoryStore())
    await program(store)
    assert store.writes == WRITES
    assert await contents(store) == AFTER[-1]


@pytest.mark.parametrize("at", range(1, WRITES + 1))
@pytest.mark.parametrize("when", ["before", "after"])
async def test_it_dies_at_each_of_them(at: int, when: When) -> None:
    true = MemoryStore()
    store = CrashingStore(true, at, when)
    with pytest.raises(Crashed):
        await program(store)
    assert await contents(true) == AFTER[at if when == "after" else at - 1]
    for attempt in (store.put("d", b""), store.delete("a"), store.get("b"), contents(store)):
        with pytest.raises(Crashed):
            await attempt
    assert await contents(true) == AFTER[at if when == "after" else at - 1]


DRIVER = """
import asyncio, sys
from functools import partial
from pathlib import Path
import cirrus
from cirrus.testing.crashing import CrashingStore, kill
from cirrus.testing.places import Troubled
from tests.chaos.ground import Oracle
folder, at, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
oracle = Oracle(rows=800, passes=1)
place = Troubled(folder / "store", meddle=lambda store: CrashingStore(store, at, when, kill))
asyncio.run(cirrus.run(oracle.pipeline(folder, oracle.train(workers=1)), on=place))
"""


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize(("at", "when"), [(4, "before"), (6, "after")])
async def test_a_run_whose_driver_died_at_a_write_goes_on(at: int, when: When, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path), str(at), when]
    died = subprocess.run(command, cwd=TREE, check=False, capture_output=True)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    store = FilesStore(tmp_path / "store")
    (run_id,) = {info.key.split("/")[1] async for info in store.list("runs/")}
    await store.close()
    Oracle(rows=800, passes=1).check(await cirrus.resume(run_id, on=local(tmp_path / "store")))
