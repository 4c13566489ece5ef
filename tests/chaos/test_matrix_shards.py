"""Rows of the fault matrix about shards: they die, also while they save; saving is slow; many push; snapshots break."""

import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest

from cirrus.actors.link import Dial
from cirrus.actors.steps import StepClient
from cirrus.errors import InvokeError, StageFailed
from cirrus.events import Event, ShardRestarted, ShardStarted, SnapshotSkipped, StageProgress, UnitsReopened
from cirrus.pipeline import Train
from cirrus.runs import start
from cirrus.testing.counting import Counting
from cirrus.testing.stores import MeddledStore, Request
from tests.actors.shards import CLOCK, bearer, cluster, token
from tests.actors.test_steps import counted, work
from tests.chaos.ground import Oracle, kill, store_in
from tests.chaos.models import Diverging, Wrong
from tests.chaos.pair import pair

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


def often(stage: Train, seconds: float = 0.3) -> Train:
    """The stage with a snapshot every so many seconds."""
    return replace(stage, snapshot=seconds)


@dataclass
class Shards:
    """The processes of a run's shards, by number, as its events tell."""

    pids: dict[int, int] = field(default_factory=dict)
    restarted: list[ShardRestarted] = field(default_factory=list)
    skipped: list[SnapshotSkipped] = field(default_factory=list)
    reopened: list[UnitsReopened] = field(default_factory=list)

    def hear(self, event: Event) -> None:
        match event:
            case ShardStarted(shard=shard, pid=pid):
                self.pids[shard] = pid
            case ShardRestarted(shard=shard, pid=pid):
                self.pids[shard] = pid
                self.restarted.append(event)
            case SnapshotSkipped():
                self.skipped.append(event)
            case UnitsReopened():
                self.reopened.append(event)
            case _:
                pass


@asyncio_only
async def test_row_13_shards_are_killed_at_random_moments_and_every_minibatch_counts_once(tmp_path: Path) -> None:
    oracle = Oracle(passes=9)
    chance = np.random.default_rng(13)
    shards, deaths = Shards(), 0
    moments = sorted(chance.integers(20, oracle.units * 3 // 4, 3).tolist())
    async with start(oracle.pipeline(tmp_path, often(oracle.train(workers=2, shards=3))), on=store_in(tmp_path)) as run:
        async for event in run.events():
            shards.hear(event)
            if isinstance(event, StageProgress) and event.stage == "train":
                while deaths < len(moments) and event.done >= moments[deaths]:
                    await asyncio.sleep(chance.uniform(0.0, 0.2))
                    kill(shards.pids[int(chance.integers(3))])
                    deaths += 1
        result = await run.result()
    oracle.check(result)
    assert deaths == len(moments)
    assert 1 <= len(shards.restarted) <= deaths, "two blows may hit the same process"


@uvloop_only
async def test_row_13_a_shard_is_killed_while_it_saves(tmp_path: Path) -> None:
    oracle = Oracle(passes=7)
    stage = replace(often(oracle.train(workers=2), 0.5), model=Counting(room=4_000_000))  # 16 MB: saving takes a while
    shards = Shards()
    deaths = 0
    temporary = tmp_path / "store" / ".cirrus-store"
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        async for event in run.events():
            shards.hear(event)
            if isinstance(event, StageProgress) and event.stage == "train" and len(shards.restarted) == deaths < 2:
                async with asyncio.timeout(10):
                    while not any(one.stat().st_size > 2**20 for one in temporary.glob("write-*") if one.exists()):
                        await asyncio.sleep(0.001)
                deaths += kill(shards.pids[0])
        result = await run.result()
    counts = result.model.weights["counts"][:, 0]
    assert (counts[: oracle.steps] == oracle.passes).all()
    assert not counts[oracle.steps :].any()
    assert len(shards.restarted) == deaths == 2
    assert shards.reopened, "what was learnt since the last whole snapshot was done again"


@asyncio_only
async def test_row_14_pushes_go_on_while_a_slow_store_takes_a_snapshot_and_a_late_one_is_skipped() -> None:
    going = asyncio.Event()

    async def slowly(request: Request) -> None:
        if request.writes:
            await asyncio.sleep(request.size / 200_000)  # a snapshot of these tables has 20 kB and more
            await going.wait()

    async with cluster() as found:
        server = found.servers[0]
        server.snapshots._shelf = replace(server.snapshots._shelf, store=MeddledStore(found.store, slowly))
        client = await found.client()
        await work(client, 0)
        url = f"{found.urls[0]}/snapshot"
        async with asyncio.TaskGroup() as group:
            first = group.create_task(asked(found.session, url))
            while not server.snapshots.busy:
                await asyncio.sleep(0)
            assert await asked(found.session, url) == 409, "a second one is not begun, nor does it wait"
            for unit in range(1, 6):
                await work(client, unit, depth=3)
            assert server.snapshots.busy
            going.set()
            assert await first == 200
        assert (found.weights() == counted(*range(6))).all()
        assert await asked(found.session, url) == 200
        await client.close()


async def asked(session: aiohttp.ClientSession, url: str) -> int:
    async with session.post(url, json={}, headers=bearer("driver")) as answer:
        return answer.status


@uvloop_only
async def test_row_15_a_hundred_pushers_all_come_through_and_the_shard_does_not_grow(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        dial = Dial((found.urls[0],), token(), found.session, CLOCK, np.random.default_rng(1), 30.0)
        async with aiohttp.TCPConnector(limit=0) as connector, aiohttp.ClientSession(connector=connector) as session:
            clients = [await StepClient.connect(replace(dial, session=session), ["weights"]) for _ in range(100)]
            progress = [0] * len(clients)

            async def push(number: int, rounds: int) -> None:
                for one in range(rounds):
                    await work(clients[number], 1000 * one + number + progress[number] * 10**6, depth=8)
                    progress[number] += 1

            async with asyncio.TaskGroup() as group:
                for number in range(100):
                    group.create_task(push(number, 1))
            settled = psutil.Process(found.pids[0]).memory_info().rss
            slowest: list[int] = []
            async with asyncio.TaskGroup() as group:
                pushers = [group.create_task(push(number, 3)) for number in range(100)]
                await asyncio.wait(pushers, return_when=asyncio.FIRST_COMPLETED)
                slowest.append(min(progress))
            grown = psutil.Process(found.pids[0]).memory_info().rss - settled
            for client in clients:
                await client.close()
        assert slowest[0] >= 2, f"one had done {slowest[0]} of 4 rounds when the first had done them all"
        assert grown < 8 * 2**20, f"{grown / 2**20:.1f} MB"


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@asyncio_only
async def test_row_27_a_broken_snapshot_is_reported_and_the_one_before_it_counts(tmp_path: Path) -> None:
    oracle = Oracle(passes=60)
    shards = Shards()
    folder = tmp_path / "store" / "runs"
    broken: Path | None = None
    async with start(oracle.pipeline(tmp_path, often(oracle.train(workers=2))), on=store_in(tmp_path)) as run:
        async for event in run.events():
            shards.hear(event)
            if isinstance(event, StageProgress) and event.stage == "train" and broken is None:
                found = sorted((folder / run.run_id / "shards" / "000").glob("0*"))
                if len(found) > 1:
                    broken = found[-1]
                    kill(shards.pids[0])
                    flipped(broken)
        result = await run.result()
    oracle.check(result)
    assert broken is not None
    assert [one.shard for one in shards.restarted] == [0]
    (skipped,) = shards.skipped
    assert skipped.key.endswith(f"shards/000/{broken.name}")
    assert skipped.problem == "the checksum does not match"


@uvloop_only
async def test_row_27_where_every_snapshot_is_broken_nothing_begins_with_zeros(tmp_path: Path) -> None:
    oracle = Oracle(passes=200)
    shards = Shards()
    folder = tmp_path / "store" / "runs"
    async with start(oracle.pipeline(tmp_path, often(oracle.train(workers=2))), on=store_in(tmp_path)) as run:
        done = False
        async for event in run.events():
            shards.hear(event)
            if isinstance(event, StageProgress) and event.stage == "train" and not done:
                found = sorted((folder / run.run_id / "shards" / "000").glob("0*"))
                if len(found) > 1:
                    done = kill(shards.pids[0])
                    for one in found:
                        flipped(one)
        with pytest.raises(InvokeError, match="checksum does not match"):
            await run.result()
    assert not shards.restarted


@pytest.mark.parametrize("wrong", ["nan", "inf", "loss"])
@asyncio_only
async def test_row_29_a_model_that_diverges_ends_its_stage_and_says_so(tmp_path: Path, wrong: Wrong) -> None:
    oracle = Oracle(rows=640, passes=2)
    stage = replace(oracle.train(workers=2), model=Diverging(room=oracle.steps, at=100, wrong=wrong))
    async with start(oracle.pipeline(tmp_path, stage), on=store_in(tmp_path)) as run:
        with pytest.raises(StageFailed) as failed:
            await run.result()
    assert "diverged" in str(failed.value), failed.value
