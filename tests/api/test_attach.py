"""A run that another process drives: what is seen of it, and what it can be told."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import cirrus
from cirrus.actors import following
from cirrus.actors.outside_orders import KillOrder, OrderBox, ScaleOrder, order_name
from cirrus.cloud.places import Local, local
from cirrus.errors import Corrupt, Killed, PipelineError, StoreError
from cirrus.events import Event, RunFinished, RunStarted, StageProgress, WorkersScaled
from cirrus.runs import resume, start
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.testing.places import Troubled
from cirrus.testing.seaweed import Seaweed
from cirrus.testing.stores import MeddledStore, Request
from tests.api.household import Household
from tests.chaos.drive import Task
from tests.chaos.drivers import DriverProcess, driver
from tests.chaos.ground import Oracle, store_in

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


def endless(folder: Path) -> Task:
    """A run that goes on for as long as a test may want."""
    return Task(str(folder), rows=3200, passes=2000)


def told(event: Event) -> str:
    """An event as text: NaN is like NaN there."""
    return repr({"event": type(event).__name__, **asdict(event)})


def said(one: DriverProcess) -> list[str]:
    """What a driver's own subscription has heard."""
    return [repr(line) for line in one.said if "event" in line]


def journal(folder: Path, run_id: str) -> list[Mapping[str, Any]]:
    """A run's decisions, those of drivers to take it left out."""
    entries = sorted((folder / "store" / "runs" / run_id / "journal").glob("*.json"))
    found = [json.loads(one.read_bytes()) for one in entries]
    return [one for one in found if one["kind"] != "taken"]


async def everything_at(run_id: str, place: Local) -> list[Event]:
    return [event async for event in cirrus.attach(run_id, on=place)]


async def everything(run_id: str, folder: Path) -> list[Event]:
    return await everything_at(run_id, store_in(folder))


async def started(one: DriverProcess) -> str:
    """The id of the run, once training has begun."""
    assert await one.learnt(units=1)
    return one.run_id


async def test_another_process_sees_each_event_of_a_living_run_once_and_in_order(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path))) as going:
        run_id = await started(going)
        seen, _ = await asyncio.gather(everything(run_id, tmp_path), going.end())
        assert [told(event) for event in seen] == said(going)
        assert isinstance(seen[-1], RunFinished)
    assert [told(event) for event in await everything(run_id, tmp_path)] == said(going), "a finished run is open again"


@uvloop_only
async def test_who_looks_on_sees_the_run_go_on_under_another_driver(tmp_path: Path) -> None:
    task = Task(str(tmp_path), rows=3200, passes=14)
    async with driver(task) as first:
        run_id = await started(first)
        seen: list[Event] = []
        said_of_it: list[str] = []
        async with aclosing(cirrus.attach(run_id, on=store_in(tmp_path), say=said_of_it.append)) as events:
            async for event in events:
                seen.append(event)
                if isinstance(event, StageProgress) and event.stage == "train":
                    break
            first.send(signal.SIGKILL)
            await first.end()
        async with driver(replace(task, run=run_id)) as second:
            again, _ = await asyncio.gather(everything(run_id, tmp_path), second.end())
        assert second.ended == "done"
    (_, taken_up) = [place for place, event in enumerate(again) if isinstance(event, RunStarted)]
    assert [told(event) for event in again[: len(seen)]] == [told(event) for event in seen]
    assert [told(event) for event in again[:taken_up]] == said(first)[:taken_up], "all that was written by its end"
    assert [told(event) for event in again[taken_up:]] == said(second)


@asyncio_only
async def test_who_looks_on_while_the_driver_dies_is_told_so_and_hears_the_next(tmp_path: Path) -> None:
    task = Task(str(tmp_path), rows=3200, passes=14)
    async with driver(task) as first:
        run_id = await started(first)
        gone, written = asyncio.Event(), asyncio.Event()
        sentences: list[str] = []

        def say(sentence: str) -> None:
            sentences.append(sentence)
            gone.set()

        async def look_on() -> list[Event]:
            seen: list[Event] = []
            async for event in cirrus.attach(run_id, on=store_in(tmp_path), say=say):
                seen.append(event)
                written.set()
            return seen

        looking = asyncio.ensure_future(look_on())
        await written.wait()
        first.send(signal.SIGKILL)
        await first.end()
        await gone.wait()
        async with driver(replace(task, run=run_id)) as second:
            await second.end()
            seen = await looking
    assert len(sentences) == 1
    assert "is gone" in sentences[0]
    assert [event.epoch for event in seen if isinstance(event, RunStarted)] == [1, 2]
    assert [told(event) for event in seen][-len(said(second)) :] == said(second)


@uvloop_only
async def test_a_run_that_nobody_takes_up_again_ends_for_those_who_look_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "WAIT", 0.0)
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        going.send(signal.SIGKILL)
        await going.end()
        seen = await everything(run_id, tmp_path)
    assert [told(event) for event in seen] == said(going)[: len(seen)]


@uvloop_only
async def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="see cirrus ls"):
        await everything("nothing-20260101-0000", tmp_path)
    with pytest.raises(PipelineError, match="run: got"):
        await everything("../up", tmp_path)


async def test_orders_from_another_process_reach_the_driver(tmp_path: Path) -> None:
    place = store_in(tmp_path)
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        assert await cirrus.scale(run_id, "train", 1, on=place) == "running"
        assert await going.until(lambda one: one.get("event") == "WorkersScaled" and one["workers"] == 1)
        with pytest.raises(PipelineError, match="stage: got 'trian'; allowed: 'prepare', 'train'"):
            await cirrus.scale(run_id, "trian", 1, on=place)
        with pytest.raises(PipelineError, match="workers: got -1"):
            await cirrus.scale(run_id, "train", -1, on=place)
        assert await cirrus.kill(run_id, stage="train", reason="diverging", on=place) == "running"
        await going.end()
        assert going.ended == "Killed"
        assert going.said[-1]["text"] == "stage 'train' was killed: diverging"
        assert [one["kind"] for one in journal(tmp_path, run_id)][-2:] == ["scaled", "killed"]
        assert await cirrus.kill(run_id, on=place) == "parked", "it is killed already"
        with pytest.raises(PipelineError, match="this one is killed"):
            await cirrus.scale(run_id, "train", 1, on=place)
        (*_, last) = await everything(run_id, tmp_path)
        assert isinstance(last, RunFinished)
        assert (last.outcome, last.reason) == ("killed", "diverging")
    assert left(tmp_path, run_id) == []


def left(folder: Path, run_id: str) -> list[str]:
    """Orders and answers that are still in the store."""
    run = folder / "store" / "runs" / run_id
    return [str(one) for part in ("orders", "answers") for one in sorted((run / part).glob("*"))]


@asyncio_only
async def test_orders_to_a_parked_run_hold_when_it_is_resumed(tmp_path: Path) -> None:
    place = store_in(tmp_path)
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        going.send(signal.SIGKILL)
        await going.end()
        await going.gone(60)
    assert await cirrus.scale(run_id, "train", 1, on=place) == "parked"
    async with start(run_id, on=place) as again:
        async for event in again.events():
            if isinstance(event, WorkersScaled):
                assert (event.stage, event.workers) == ("train", 1)
            if isinstance(event, cirrus.StageStarted):
                assert event.workers == 1
                break
        await again.kill(reason="seen enough")
    assert [one["kind"] for one in journal(tmp_path, run_id)] == ["prepared", "scaled", "killed"]


@uvloop_only
async def test_a_parked_run_that_is_killed_is_not_resumed(tmp_path: Path) -> None:
    place = store_in(tmp_path)
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        going.send(signal.SIGKILL)
        await going.end()
        await going.gone(60)
    assert await cirrus.kill(run_id, reason="no more", on=place) == "parked"
    (*_, last) = await everything(run_id, tmp_path)
    assert isinstance(last, RunFinished)
    assert (last.outcome, last.reason) == ("killed", "no more")
    with pytest.raises(Killed, match="no more"):
        await resume(run_id, on=place)
    assert left(tmp_path, run_id) == []


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[ObjectStore]:
    store = FilesStore(folder / "store")
    try:
        yield store
    finally:
        await store.close()


@asyncio_only
async def test_an_order_outlives_who_gave_it_and_the_driver_and_is_obeyed_once(tmp_path: Path) -> None:
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        going.send(signal.SIGKILL)
        await going.end()
        await going.gone(60)
    async with opened(tmp_path) as store:
        box = OrderBox(store, run_id)
        wish, end = order_name(1.0, "0" * 16), order_name(2.0, "0" * 16)
        await box.give(wish, ScaleOrder("train", 1))
        await box.give(end, KillOrder(None, "left behind"))
        with pytest.raises(Killed, match="left behind"):
            await resume(run_id, on=store_in(tmp_path))
        assert [one["fields"].get("order") for one in journal(tmp_path, run_id)[1:]] == [wish, end]
        await OrderBox(store, run_id, [wish]).look(never)


async def never(_name: str, _order: object) -> None:
    raise AssertionError("it was obeyed before")


JUNK = {
    "000000000000001-0000000000000000": b"\xff\x00",
    "000000000000002-0000000000000000": b"[" * 3000,
    "000000000000003-0000000000000000": b" " * 1_000_000,
    "000000000000004-0000000000000000": b'{"type":"ScaleOrder","stage":"train","workers":-3}',
    "000000000000005-0000000000000000": b'{"type":"ScaleOrder","stage":"nobody","workers":3}',
    "000000000000006-0000000000000000": b'{"type":"KillOrder","stage":"nobody","reason":"x"}',
    "000000000000007-0000000000000000": b'{"type":"KillOrder","stage":null,"reason":"' + b"x" * 2000 + b'"}',
    "000000000000008-0000000000000000": b'{"type":"KillOrder","stage":null,"reason":"x","more":1}',
    "000000000000009-0000000000000000": b'{"type":"Other"}',
    "no name": b'{"type":"KillOrder","stage":null,"reason":"x"}',
}


@uvloop_only
async def test_what_is_no_order_is_refused_and_removed_and_the_run_goes_on(tmp_path: Path) -> None:
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        async with opened(tmp_path) as store:
            for name, data in JUNK.items():
                await store.put(f"runs/{run_id}/orders/{name}.json", data)
            assert await cirrus.scale(run_id, "train", 1, on=store_in(tmp_path)) == "running"
            answers = [await OrderBox(store, run_id).answer_to(name) for name in JUNK if "-" in name]
            assert [type(one).__name__ for one in answers] == ["Declined"] * 9
        assert left(tmp_path, run_id) == []
        assert [one["kind"] for one in journal(tmp_path, run_id)] == ["prepared", "scaled"]
        await cirrus.kill(run_id, on=store_in(tmp_path))
        await going.end()


@asyncio_only
async def test_a_store_that_takes_no_events_for_a_while_only_delays_them(tmp_path: Path) -> None:
    refused = 0

    async def refuse(request: Request) -> None:
        nonlocal refused
        if "/events/" in request.key and request.writes and refused < 3:
            refused += 1
            raise StoreError(request.key, "503 Slow Down")

    async def lose(request: Request) -> None:
        nonlocal refused
        if "/events/" in request.key and request.writes and refused == 3:
            refused += 1
            raise StoreError(request.key, "the answer is lost")

    def meddle(store: ObjectStore) -> ObjectStore:
        return MeddledStore(store, refuse, lose)

    oracle = Oracle(passes=10, pause=0.002)
    place = Troubled(tmp_path / "store", meddle=meddle)
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
        heard = [told(event) async for event in going.events()]
        oracle.check(await going.result())
    assert refused == 4
    assert [told(event) for event in await everything(going.run_id, tmp_path)] == heard


@uvloop_only
async def test_an_event_of_a_newer_version_is_an_error_that_names_it(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path))) as going:
        run_id = await started(going)
        await going.end()
    (log,) = (tmp_path / "store" / "runs" / run_id / "events").iterdir()
    log.write_bytes(log.read_bytes().replace(b"StageFinished", b"StageMarvelled", 1))
    with pytest.raises(Corrupt, match=r"event \d+ is none that this version of cirrus knows"):
        await everything(run_id, tmp_path)


async def test_looking_on_leaves_nothing_behind(tmp_path: Path) -> None:
    async with driver(endless(tmp_path)) as going:
        run_id = await started(going)
        before = await Household.warm()
        async with aclosing(cirrus.attach(run_id, on=local(tmp_path / "store"))) as events:
            async for event in events:
                if isinstance(event, StageProgress):
                    break
        await cirrus.scale(run_id, "train", 2, on=store_in(tmp_path))
        changes = [one for one in before.changes() if not one[2:].startswith("process")]
        assert changes == [], "processes of the driver come and go"
        await cirrus.kill(run_id, on=store_in(tmp_path))
        await going.end()


@asyncio_only
async def test_a_run_on_s3_is_watched_and_killed_there(tmp_path: Path, server: Seaweed) -> None:
    place = local(f"s3://cirrus-tests/attach?endpoint={server.endpoint}")
    oracle = Oracle(passes=100)
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
        heard = going.events()
        async for event in heard:
            if isinstance(event, StageProgress) and event.stage == "train":
                break
        watching = asyncio.ensure_future(everything_at(going.run_id, place))
        with pytest.raises(PipelineError, match="stage: got 'trian'"):
            await cirrus.scale(going.run_id, "trian", 1, on=place)
        assert await cirrus.scale(going.run_id, "train", 1, on=place) == "running"
        assert await cirrus.kill(going.run_id, reason="from elsewhere", on=place) == "running"
        seen = await watching
        with pytest.raises(Killed, match="from elsewhere"):
            await going.result()
    said_here = [told(event) async for event in going.events() if not isinstance(event, StageProgress)]
    assert [told(event) for event in seen if not isinstance(event, StageProgress)] == said_here
