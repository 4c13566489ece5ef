"""The store of files keeps the contract, and what only files need: links, rights, threads, processes, full disks."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.store.folder import OWN
from cirrus.testing.contracts.store import StoreContract


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesStore]:
    store = FilesStore(tmp_path / "store")
    yield store
    await store.close()


async def keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [info.key async for info in store.list(prefix)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def temporary_files(root: Path) -> list[str]:
    return [name for name in names(root / OWN) if name != "lock"]


class TestFilesStore(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[ObjectStore]:
        store = FilesStore(tmp_path / "deep" / "store")
        yield store
        await store.close()


async def test_another_store_of_the_same_folder_sees_the_same(store: FilesStore, tmp_path: Path) -> None:
    etag = await store.put("a/b", b"x")
    other = FilesStore(tmp_path / "store")
    assert (await other.info("a/b")).etag == etag
    assert await other.replace_if("a/b", b"y", etag) == (await store.info("a/b")).etag
    await other.close()


async def test_reading_makes_nothing(store: FilesStore, tmp_path: Path) -> None:
    assert await keys(store) == []
    with pytest.raises(NotFound):
        await store.get("a")
    await store.delete("a/b")
    assert not (tmp_path / "store").exists()


async def test_reads_a_folder_that_others_filled(store: FilesStore, tmp_path: Path) -> None:
    folder = tmp_path / "store" / "data"
    folder.mkdir(parents=True)
    (folder / "day-1.tsv").write_bytes(b"1\t2\n")
    (folder / "day-2.tsv").write_bytes(b"3\t4\n")
    (tmp_path / "store").chmod(0o500)
    folder.chmod(0o500)
    before = await store.info("data/day-1.tsv")
    assert await keys(store, "data/day-") == ["data/day-1.tsv", "data/day-2.tsv"]
    assert await store.get("data/day-2.tsv", 2) == b"4\n"
    (folder / "day-1.tsv").write_bytes(b"1\t3\n")
    assert (await store.info("data/day-1.tsv")).etag != before.etag
    assert names(tmp_path / "store") == ["data"]


async def test_files_of_one_tick_of_the_clock_differ_in_their_nanoseconds(
    store: FilesStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter([123, 456])
    monkeypatch.setattr(secrets, "randbelow", lambda _: next(drawn))
    etags = [await store.put(key, b"x") for key in ("a", "b")]
    assert [(tmp_path / "store" / key).stat().st_mtime_ns % 10**9 for key in ("a", "b")] == [123, 456]
    assert [(await store.info(key)).etag for key in ("a", "b")] == etags


async def test_is_private(store: FilesStore, tmp_path: Path) -> None:
    await store.put("a/b/c", b"x")
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "store").rglob("*")
    }
    modes["store"] = stat.S_IMODE((tmp_path / "store").stat().st_mode)
    own = f"store/{OWN}"
    folders = dict.fromkeys(("store", "store/a", "store/a/b", own), 0o700)
    assert modes == folders | {"store/a/b/c": 0o600, f"{own}/lock": 0o600}


async def test_a_name_is_an_object_or_a_folder(store: FilesStore) -> None:
    await store.put("a", b"x")
    with pytest.raises(StoreError) as caught:
        await store.put("a/b", b"y")
    assert not isinstance(caught.value, NotFound)
    await store.put("c/d", b"z")
    with pytest.raises(StoreError):
        await store.put("c", b"y")
    assert await keys(store) == ["a", "c/d"]
    assert await store.get("a") == b"x"


async def test_its_own_folder_is_nobodys_key(store: FilesStore) -> None:
    await store.put("a", b"x")
    for key in (OWN, f"{OWN}/lock", f"{OWN}/x"):
        with pytest.raises(StoreError, match="own"):
            await store.put(key, b"y")
        with pytest.raises(StoreError, match="own"):
            await store.delete(key)
    with pytest.raises(StoreError, match="own"):
        await keys(store, f"{OWN}/")
    assert await keys(store, OWN) == []


class TestLinks:
    @pytest.fixture(autouse=True)
    def outside(self, tmp_path: Path) -> Path:
        (tmp_path / "store").mkdir()
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "secret").write_bytes(b"secret")
        return tmp_path / "outside"

    async def test_to_a_file_inside_is_an_object(self, store: FilesStore, tmp_path: Path) -> None:
        await store.put("a/file", b"x")
        (tmp_path / "store" / "link").symlink_to("a/file")
        assert await store.get("link") == b"x"
        assert await keys(store) == ["a/file", "link"]

    async def test_to_a_file_outside_is_refused(self, store: FilesStore, outside: Path, tmp_path: Path) -> None:
        (tmp_path / "store" / "link").symlink_to(outside / "secret")
        for attempt in (store.get("link"), store.info("link"), keys(store)):
            with pytest.raises(StoreError, match="leads out"):
                await attempt

    async def test_to_a_folder_is_refused(self, store: FilesStore, outside: Path, tmp_path: Path) -> None:
        (tmp_path / "store" / "link").symlink_to(outside)
        attempts = (
            store.get("link/secret"),
            store.put("link/new", b"x"),
            store.put("link/deeper/new", b"x"),
            store.delete("link/secret"),
            keys(store),
            keys(store, "link/"),
        )
        for attempt in attempts:
            with pytest.raises(StoreError, match="symbolic link"):
                await attempt
        assert names(outside) == ["secret"]

    async def test_a_write_replaces_the_link_and_not_what_it_leads_to(
        self, store: FilesStore, outside: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "store" / "link").symlink_to(outside / "secret")
        await store.put("link", b"new")
        assert (outside / "secret").read_bytes() == b"secret"
        assert await store.get("link") == b"new"

    async def test_to_nothing_is_nothing(self, store: FilesStore, tmp_path: Path) -> None:
        (tmp_path / "store" / "link").symlink_to("nothing")
        assert await keys(store) == []
        with pytest.raises(NotFound):
            await store.get("link")

    async def test_the_root_itself_may_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "alias").symlink_to(tmp_path / "store")
        alias = FilesStore(tmp_path / "alias")
        await alias.put("a/b", b"x")
        assert (tmp_path / "store" / "a" / "b").read_bytes() == b"x"
        assert await keys(alias) == ["a/b"]
        await alias.close()


async def test_only_regular_files_are_objects(store: FilesStore, tmp_path: Path) -> None:
    await store.put("a", b"x")
    os.mkfifo(tmp_path / "store" / "pipe")
    assert await keys(store) == ["a"]
    with pytest.raises(StoreError, match="regular"):
        await store.get("pipe")


async def test_a_name_that_is_not_text_is_not_passed_over(store: FilesStore, tmp_path: Path) -> None:
    await store.put("a", b"x")
    (tmp_path / "store" / os.fsdecode(b"caf\xe9")).write_bytes(b"y")
    with pytest.raises(StoreError, match="UTF-8"):
        await keys(store)


async def test_foreign_errors_are_the_cause(store: FilesStore, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"a file where the folder should be")
    with pytest.raises(StoreError) as caught:
        await store.put("a", b"x")
    assert caught.value.key == "a"
    assert isinstance(caught.value.__cause__, OSError)


async def test_a_name_that_the_disk_cannot_hold_is_an_error(store: FilesStore) -> None:
    with pytest.raises(StoreError, match="too long"):
        await store.put("x" * 300, b"x")
    assert await keys(store) == []


async def test_closing_waits_for_writes_and_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    store = FilesStore(tmp_path)
    assert set(threading.enumerate()) == before
    writes = [asyncio.ensure_future(store.put(f"{number}", bytes(300_000))) for number in range(20)]
    await asyncio.wait(writes, return_when=asyncio.FIRST_COMPLETED)
    writes[-1].cancel()
    await store.close()
    assert set(threading.enumerate()) == before
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [result for result in results[:-1] if not isinstance(result, str)] == []
    with pytest.raises(StoreError, match="closed"):
        await store.get("0")
    await store.close()


async def test_nothing_blocks_the_loop(store: FilesStore) -> None:
    with blockbuster_ctx("cirrus"):
        await asyncio.gather(*(store.put(f"a/{number}", bytes(10_000)) for number in range(30)))
        assert len(await keys(store, "a/")) == 30
        assert await store.get("a/7", 9_990) == bytes(10)
        await store.delete("a/7")
        await store.close()


async def test_a_failed_write_leaves_nothing_behind(store: FilesStore, tmp_path: Path) -> None:
    etag = await store.put("a", b"x")
    with pytest.raises(Conflict):
        await store.put_if_absent("a", b"y")
    with pytest.raises(Conflict):
        await store.replace_if("a", b"y", etag + "0")
    await store.put("b/c", b"x")
    with pytest.raises(StoreError):
        await store.put("b", b"y")
    assert temporary_files(tmp_path / "store") == []


LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "wb")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


async def test_sweeps_up_after_the_dead_but_not_the_living(store: FilesStore, tmp_path: Path) -> None:
    own = tmp_path / "store" / OWN
    own.mkdir(parents=True)
    (own / "write-dead").write_bytes(b"half a")
    living = subprocess.Popen(
        [
            sys.executable,
            "-c",
            LOCKER,
            own / "write-living",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with living:
        assert living.stdout is not None
        assert living.stdout.readline() == b"locked\n"
        assert await keys(store) == []
        await store.put("a", b"x")
        assert temporary_files(tmp_path / "store") == ["write-living"]
        assert living.stdin is not None
        living.stdin.close()
    assert await keys(store) == ["a"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes a root user")
    yield disk
    subprocess.run(["umount", disk], check=True)


async def test_a_full_disk_keeps_the_old_objects(small_disk: Path) -> None:
    store = FilesStore(small_disk / "store")
    etag = await store.put("a", b"o" * 400_000)
    for attempt in (
        store.put("a", bytes(900_000)),
        store.replace_if("a", bytes(900_000), etag),
        store.put_if_absent("b", bytes(900_000)),
    ):
        with pytest.raises(StoreError, match="space"):
            await attempt
    assert await store.get("a") == b"o" * 400_000
    assert (await store.info("a")).etag == etag
    assert await keys(store) == ["a"]
    assert temporary_files(small_disk / "store") == []
    await store.put("a", b"n" * 400_000)
    assert await store.get("a") == b"n" * 400_000
    await store.close()
