"""Rows of the fault matrix about what is read and written: misleading answers, changed bytes, a disk that is full."""

import contextlib
import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cirrus import tenure
from cirrus.errors import Conflict, InputError, OutsideError, StageFailed, StoreError
from cirrus.events import RowsPrepared, RunStarted, StageProgress
from cirrus.pipeline import Pipeline, Prepare
from cirrus.runs import resume, run, start
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash
from cirrus.store import holding
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import newest_snapshot
from cirrus.store.datasets import load
from cirrus.store.opening import open_store
from cirrus.testing.data import criteo_like
from cirrus.testing.places import Troubled
from cirrus.testing.stores import MeddledStore, Request
from tests.chaos.ground import Oracle, store_in

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


@asyncio_only
async def test_row_25_a_conflict_after_a_write_of_ones_own_is_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "RENEW", 0.1)
    keys: set[str] = set()

    async def lose_the_answer(request: Request) -> None:
        if request.kind == "put_if_absent" or (request.kind == "replace_if" and request.write % 2):
            keys.add(request.key.rpartition("/")[2])
            raise Conflict(request.key, "412 Precondition Failed, says a retry of the request that got through")

    def meddle(store: ObjectStore) -> ObjectStore:
        return MeddledStore(store, after=lose_the_answer)

    oracle = Oracle(rows=640, passes=4)
    place = Troubled(tmp_path / "store", meddle=meddle)
    result = await run(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place)
    oracle.check(result)
    log = {"00000001-00000000.jsonl"}  # of events
    written_once = {"run.json", "holder.json", "manifest.json", "00000000.json", "00000001.json"}
    assert keys - log == written_once | {"model.safetensors", "result.json"}
    assert [one.name for one in (tmp_path / "store" / "runs").iterdir()] == [result.run_id]


def prepare(path: Path) -> Pipeline:
    return Pipeline(name="clicks", data=criteo(path), stages=(Prepare(steps=(Bucket(), Hash(bits=12)), workers=2),))


@uvloop_only
async def test_row_26_input_that_is_cut_off_or_damaged_is_named(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tsv"
    criteo_like(whole, 20_000, seed=1)
    packed = gzip.compress(whole.read_bytes(), 1)
    for name, data in {
        "cut.tsv.gz": packed[: len(packed) * 3 // 4],
        "damaged.tsv.gz": packed[: len(packed) // 2] + b"\0" * 40 + packed[len(packed) // 2 + 40 :],
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(InputError) as error:
            await run(prepare(path), on=store_in(tmp_path))
        assert error.value.name.endswith(name)
        assert re.search(r"\bbyte \d+", error.value.problem), error.value.problem


@asyncio_only
async def test_row_26_input_that_changes_under_a_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv"
    criteo_like(path, 20_000, seed=1)
    async with start(prepare(path), on=store_in(tmp_path)) as going:
        async for event in going.events():
            if isinstance(event, RunStarted):
                criteo_like(path, 20_000, seed=2)
        with pytest.raises(InputError, match="changed") as error:
            await going.result()
    assert error.value.name.endswith("clicks.tsv")


@uvloop_only
async def test_row_26_a_block_that_changed_in_the_store_is_named(tmp_path: Path) -> None:
    oracle = Oracle(rows=640, passes=2)
    blocks: list[Path] = []
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=store_in(tmp_path)) as going:
        async for event in going.events():
            if isinstance(event, RowsPrepared):
                blocks = sorted((tmp_path / "store" / "runs" / going.run_id).rglob("*.block"))
                data = bytearray(blocks[3].read_bytes())
                data[len(data) // 2] ^= 1
                blocks[3].write_bytes(data)
        with pytest.raises(StageFailed) as failed:
            await going.result()
    assert blocks[3].name in failed.value.evidence
    assert "Corrupt" in failed.value.evidence


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


async def sound(store: ObjectStore, run_id: str) -> None:
    """Every data set and snapshot of the run can be read."""
    async for info in store.list(f"runs/{run_id}/"):
        if info.key.endswith("manifest.json"):
            dataset = await load(store, info.key)
            for block in dataset.train:
                block.open(await store.get(block.key), dataset.features)
    newest = await newest_snapshot(store, f"runs/{run_id}/shards/000")
    assert not newest.skipped


@asyncio_only
async def test_row_34_a_disk_that_is_full_ends_a_run_clearly_and_keeps_what_was_there(
    tmp_path: Path, small_disk: Path
) -> None:
    oracle = Oracle(rows=640, passes=2)
    before = await run(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=store_in(small_disk))
    path = tmp_path / "clicks.tsv"
    criteo_like(path, 20_000, seed=1)
    with pytest.raises((StageFailed, StoreError)) as failed:
        await run(prepare(path), on=store_in(small_disk))
    assert "No space left on device" in str(failed.value)
    store = open_store(store_in(small_disk).url)
    await sound(store, before.run_id)
    await store.close()
    assert not list((small_disk / "store" / ".cirrus-store").glob("write-*"))
    assert psutil.Process().children(recursive=True) == []


@uvloop_only
async def test_row_34_a_disk_that_fills_up_while_training_costs_nothing_that_was_saved(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 0.0)  # a full disk may not take the word that the run is free
    monkeypatch.setattr(holding, "LOOK", 0.0)
    oracle = Oracle(passes=8)
    stage = replace(oracle.train(workers=2), snapshot=0.3)
    filler = small_disk / "filler"
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(small_disk)) as going:
        async for event in going.events():
            if isinstance(event, StageProgress) and event.stage == "train" and event.done > 100:
                saved = sorted((small_disk / "store" / "runs" / going.run_id / "shards" / "000").glob("0*"))
                if saved and not filler.exists():
                    fill(filler)
        with pytest.raises(OutsideError, match="No space left on device"):
            await going.result()
    store = open_store(store_in(small_disk).url)
    await sound(store, going.run_id)
    filler.unlink()
    result = await resume(going.run_id, on=store_in(small_disk))
    oracle.check(result)
    await sound(store, going.run_id)
    await store.close()
