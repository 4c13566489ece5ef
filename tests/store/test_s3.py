"""The store on a real S3 server: the same contract as files and memory, a whole run, and what a failure says."""

from __future__ import annotations

import asyncio
import gzip
import secrets
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

import cirrus
from cirrus.cloud.places import Local
from cirrus.errors import InputError, PipelineError, StoreError
from cirrus.store.inputs import expand, locate
from cirrus.store.opening import open_store
from cirrus.store.patience import Patience
from cirrus.store.s3 import S3Store
from cirrus.testing.contracts.store import GOOD_KEYS, StoreContract
from cirrus.testing.data import criteo_like
from cirrus.testing.seaweed import Seaweed, seaweed

BUCKET = "cirrus-tests"
pytestmark = pytest.mark.usefixtures("client")


@pytest.fixture
async def store(server: Seaweed, client: str) -> AsyncIterator[S3Store]:
    """A place of its own in the bucket, which the first write makes."""
    made = S3Store(BUCKET, f"test-{secrets.token_hex(8)}")
    yield made
    await made.close()


class TestS3(StoreContract):
    """Everything that a store must do.

    This server takes a backslash in a key for a slash, and makes many who write one object at once wait for seconds.
    """

    good_keys: ClassVar[tuple[str, ...]] = tuple(key for key in GOOD_KEYS if "\\" not in key)
    racers: ClassVar[int] = 5


async def test_another_process_opens_the_same_store_by_its_url(store: S3Store) -> None:
    await store.put("a", b"what was written")
    other = open_store(store.url)
    try:
        assert await other.get("a") == b"what was written"
    finally:
        await other.close()


async def test_an_object_of_several_parts_is_written_once_and_read_in_ranges(store: S3Store) -> None:
    data = secrets.token_bytes(1 << 20) * 20
    await store.put_if_absent("large", data)
    assert await store.get("large", 5 << 20, (5 << 20) + 100) == data[5 << 20 : (5 << 20) + 100]
    with pytest.raises(cirrus.Conflict):
        await store.put_if_absent("large", data[1:])
    assert await store.get("large") == data


async def test_no_secret_stands_in_the_url(store: S3Store, server: Seaweed) -> None:
    assert server.secret_key not in store.url
    assert server.access_key not in store.url


async def test_a_wrong_key_is_told_with_what_would_be_needed(
    server: Seaweed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not the one")
    store = S3Store(BUCKET, "other")
    try:
        with pytest.raises(StoreError) as refused:
            await store.put("a", b"")
    finally:
        await store.close()
    assert server.secret_key not in str(refused.value)
    assert "a" in refused.value.key


@pytest.mark.parametrize("path", ["input/none.tsv", "input/none*", "none/"])
async def test_input_that_is_not_there_is_told(store: S3Store, path: str) -> None:
    await store.put("input/a.tsv", b"1\n")
    name = f"s3://{BUCKET}/{store._address.prefix}/{path}"
    location = locate(name)
    there = open_store(location.url)
    with pytest.raises(InputError, match="no such file") as caught:
        await expand(there, location)
    assert caught.value.name == name
    await there.close()


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("client", ["sdk"], indirect=True)
async def test_what_was_acknowledged_outlives_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acknowledged: dict[str, bytes] = {}

    async def write(store: S3Store, lane: int) -> None:
        for number in range(1_000_000):
            data = b"%d" % number * (1 + lane * 3000)
            try:
                await store.put_if_absent(f"{lane}/{number}", data)
            except StoreError:
                return
            acknowledged[f"{lane}/{number}"] = data

    async def kill(server: ExitStack) -> None:
        while len(acknowledged) < 60:
            await asyncio.sleep(0.001)
        server.close()

    with ExitStack() as running:
        first = running.enter_context(seaweed(tmp_path))
        for name, value in first.environment.items():
            monkeypatch.setenv(name, value)
        store = S3Store(BUCKET, patience=Patience(seconds=0.3, unanswered=10.0))
        await asyncio.gather(kill(running), *(write(store, lane) for lane in range(4)))
        await store.close()
    with seaweed(tmp_path) as second:
        store = S3Store(BUCKET, endpoint_url=second.endpoint)
        assert len(acknowledged) >= 60
        for key, data in acknowledged.items():
            assert await store.get(key) == data
        await store.close()


@pytest.mark.parametrize("url", ["s3://", "s3://UPPER", "s3://b/p?secret=x", "s3://user:pass@b/p", "ftp://b"])
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(PipelineError) as refused:
        open_store(url)
    assert "pass" not in str(refused.value)


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("client", ["sdk"], indirect=True)
async def test_a_whole_run_keeps_its_objects_there(store: S3Store, tmp_path: Path) -> None:
    """Its input is read from there, too."""
    criteo_like(tmp_path / "rows.tsv", 6000, seed=3)
    rows = (tmp_path / "rows.tsv").read_bytes()
    cut = rows.index(b"\n", len(rows) // 2) + 1
    await store.put("input/day 1.tsv", rows[:cut])
    await store.put("input/day 2.tsv", gzip.compress(rows[cut:]))
    await store.put("input/other.tsv", b"not a row")
    pipeline = cirrus.Pipeline(
        name="on-s3",
        data=cirrus.criteo(f"s3://{BUCKET}/{store._address.prefix}/input/day*.tsv"),
        stages=(
            cirrus.Prepare(steps=(cirrus.Bucket(), cirrus.Hash(bits=12)), test=0.2, workers=1, block=1024),
            cirrus.Train(workers=2, minibatch=50),
        ),
    )
    result = await cirrus.run(pipeline, on=Local(store.url))
    assert result.metrics["train"]["samples"] == result.metrics["prepare"]["train"]
    figures = result.metrics["prepare"]
    assert (figures["rows_in"], figures["train"] + figures["test"]) == (6000, 6000)
    kept = [info.key async for info in store.list(f"runs/{result.run_id}/")]
    assert f"runs/{result.run_id}/train/model.safetensors" in kept
