"""Rows of the fault matrix that lie between a worker and a shard: a real shard process, and a proxy before it."""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from cirrus.actors import link
from cirrus.actors.kernel import Kernel
from cirrus.clock import SystemClock
from cirrus.errors import Closed
from cirrus.runs import start
from cirrus.testing.faults import Call, Drop, Fault, Flip, Repeat, Reset, Truncate, Weather, on
from cirrus.testing.places import Troubled
from cirrus.testing.proxy import proxied
from cirrus.wire import frames
from cirrus.wire.frames import Step
from tests.actors.shards import bearer, token
from tests.actors.test_steps import work
from tests.chaos.ground import Oracle, kill, worker_pids
from tests.chaos.pair import Pair, pair

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])


@asyncio_only
async def test_row_01_a_worker_is_killed_in_the_middle_of_a_frame(tmp_path: Path) -> None:
    oracle = Oracle(rows=1280, passes=3)
    killed: list[int] = []

    def end() -> None:
        killed.extend(pid for pid in worker_pids("train") if kill(pid))

    # 24 bytes open a unit; of the frames that follow, which have about 60 bytes, these places cut one in two.
    rounds: list[Sequence[Fault]] = [[Call(way="up", at=at, call=end), Reset(way="up", at=at)] for at in (3001, 1013)]
    async with Kernel(SystemClock()) as kernel, proxied(kernel, on("/steps", *rounds)) as proxy:
        place = Troubled(tmp_path / "store", worker_proxies=(proxy,))
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=place) as run:
            result = await run.result()
    oracle.check(result)
    assert len(killed) == 2


@uvloop_only
async def test_row_02_an_acknowledgement_is_lost_and_the_retry_is_a_duplicate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HEARTBEAT", 0.2)
    # One shard's answers are swallowed while the other hears nothing more: the first has seen what is then told again.
    places = (300, 500, 400, 700)
    rounds: list[Sequence[Fault]] = [[Drop(way="down", at=at + 90)] for at in places]
    deaf: list[Sequence[Fault]] = [[Drop(way="up", at=at)] for at in places]
    async with pair(tmp_path, on("/steps", *rounds), on("/steps", *deaf)) as found:
        await found.learn(0, 1, 2)
        assert found.breaks == len(rounds)
        assert found.duplicates > 0
        await found.counted(0, 1, 2)
        assert (await found.figures())["steps_duplicate_total"] > 0


@asyncio_only
async def test_row_02_an_acknowledgement_is_lost_and_the_worker_dies_of_it(tmp_path: Path) -> None:
    async with pair(tmp_path, on("/steps", [Reset(way="down", at=450)])) as found:
        first = await found.client()
        with pytest.raises(Closed):
            await work(first, 0, attempt=1, depth=3)
        await first.close()
        successor = await found.client()
        began = await work(successor, 0, attempt=2, depth=3)
        assert began > 0
        assert successor.duplicates == 0, "the successor begins behind the last step that counted"
        await successor.close()
        await found.counted(0)


async def replayed(found: Pair, said: bytes) -> bytes:
    """What the shard answers to these bytes on a new connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(found.urls[0].rpartition(":")[2]))
    try:
        writer.write(said)
        return await reader.read()
    finally:
        writer.close()


@uvloop_only
async def test_row_12_frames_of_an_old_run_or_epoch_are_refused_and_counted(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        found.proxy.record = []
        await found.learn(0)
        (said,) = [bytes(one) for one in found.proxy.record if b"/steps" in one]
        said = said[said.index(b"GET /steps") :]
        before = await found.figures()
        for changed in (token(epoch=1), token(epoch=3), token(run="another")):
            answer = await replayed(found, re.sub(rb"(?<=Bearer )\S+", changed.encode(), said, count=1))
            assert b" 401 " in answer.partition(b"\r\n")[0]
        after = await found.figures()
        assert after["tokens_refused_total"] == before["tokens_refused_total"] + 3
        assert after["clock"] == before["clock"]
        # The same bytes under the same token: every step of them has counted.
        assert b" 101 " in (await replayed(found, said)).partition(b"\r\n")[0]
        again = await found.figures()
        assert again["steps_duplicate_total"] > after["steps_duplicate_total"]
        # And once a newer lease is known, the old ones are not even that.
        client = await found.client()
        await work(client, 0, attempt=5)
        await client.close()
        await replayed(found, said)
        assert (await found.figures())["steps_stale_total"] > again["steps_stale_total"]
        await found.counted(0)


@asyncio_only
async def test_row_20_a_partition_between_worker_and_shard_heals_by_itself(tmp_path: Path) -> None:
    async with pair(tmp_path) as found:
        async with asyncio.TaskGroup() as group:
            learning = group.create_task(found.learn(*range(200)))
            for ways in (("up",), ("down",), ("up", "down")):
                await asyncio.sleep(0.05)
                found.proxy.hold(*ways)
                await asyncio.sleep(0.1)
                assert not learning.done()
                found.proxy.go_on(*ways)
        assert (found.breaks, found.duplicates) == (0, 0)
        await found.counted(*range(200))


@uvloop_only
async def test_row_21_a_reset_connection_goes_on_at_the_step(tmp_path: Path) -> None:
    places = [1, 24, 30, 31, 333, 999, 2000]
    rounds: list[Sequence[Fault]] = [[Reset(way="up", at=at)] for at in places]
    rounds += [[Truncate(way="up", at=at)] for at in places]
    async with pair(tmp_path, on("/steps", *rounds)) as found:
        await found.learn(0, 1, 2)
        assert found.breaks == len(rounds)
        await found.counted(0, 1, 2)


@asyncio_only
async def test_row_21_a_half_open_connection_is_found_out_by_a_ping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "HEARTBEAT", 0.2)
    rounds = [[Drop(way="down", at=300)], [Drop(way="up", at=300)]]
    async with pair(tmp_path, on("/steps", *rounds)) as found:
        await found.learn(0, 1)
        assert found.breaks == len(rounds)
        await found.counted(0, 1)


@uvloop_only
async def test_row_22_damaged_doubled_and_cut_frames_are_refused_and_nothing_of_them_counts(tmp_path: Path) -> None:
    chance = np.random.default_rng(22)
    rounds: list[Sequence[Fault]] = []
    for _ in range(40):
        at = int(chance.integers(0, 2500))
        rounds += [
            [Flip(way="up", at=at, bit=int(chance.integers(8)))],
            [Flip(way="down", at=at, bit=int(chance.integers(8)))],
            [Repeat(way="up", at=at, size=int(chance.integers(1, 200)))],
            [Repeat(way="down", at=at, size=int(chance.integers(1, 200)))],
            [Truncate(way="up", at=at)],
        ]
    async with pair(tmp_path, on("/steps", *rounds)) as found:
        units = range(80)
        async with asyncio.timeout(60):
            await found.learn(*units)
        assert found.breaks > 100
        await found.counted(*units)


@uvloop_only
async def test_row_22_a_run_whose_connections_break_all_the_time_is_exact(tmp_path: Path) -> None:
    oracle = Oracle(rows=1280, passes=4)
    weather = [Weather(seed=seed, path="/steps", kinds=("reset", "truncate", "swallow"), mean=9000) for seed in (1, 2)]
    async with (
        Kernel(SystemClock()) as kernel,
        proxied(kernel, weather[0].plan()) as first,
        proxied(kernel, weather[1].plan()) as second,
    ):
        place = Troubled(tmp_path / "store", worker_proxies=(first, second))
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2, shards=2)), on=place) as run:
            result = await run.result()
    oracle.check(result)
    assert first.connections + second.connections > 20


def broken(chance: np.random.Generator) -> Step:
    """A step that pulls rows 1 and 2 and pushes to those that were pulled before, with one thing wrong."""
    tables, keys, gradient = (0,), np.array([1, 2], np.uint32), np.full((2, 1), -1, np.float32)
    number = 0
    match int(chance.integers(6)):
        case 0:
            tables = (int(chance.integers(1, 60_000)),)
        case 1:
            keys = np.array([int(chance.integers(0, 99)), int(chance.integers(100, 2**32))], np.uint32)
        case 2:
            keys = np.sort(chance.integers(0, 100, 5).astype(np.uint32))[::-1]
        case 3:
            gradient = np.full((int(chance.choice([0, 1, 3, 50])), 1), -1, np.float32)
        case 4:
            gradient = np.full((2, int(chance.integers(2, 9))), -1, np.float32)
        case _:
            number = int(chance.integers(1, 2**31))
    return Step(number, tables, (gradient,), (keys,))


async def refused(found: Pair, steps: Sequence[Step]) -> None:
    """Each of these has a right checksum, an open unit and a pull that are right; it is refused, and nothing counts."""
    sound = frames.encode_open(7, 1) + frames.encode_step(Step(0, (0,), None, (np.array([1, 2], np.uint32),)))
    await found.learn(0)
    before = await found.figures()
    for step in steps:
        socket = await found.session.ws_connect(f"{found.urls[0]}/steps", headers=bearer("worker"), compress=0)
        await socket.send_bytes(sound)
        assert (await socket.receive()).type is aiohttp.WSMsgType.BINARY
        await socket.send_bytes(frames.encode_step(step))
        answer = await socket.receive()
        assert (answer.type, answer.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.PROTOCOL_ERROR)
        await socket.close()
    after = await found.figures()
    assert after["frames_refused_total"] == before["frames_refused_total"] + len(steps)
    assert after["clock"] == before["clock"]
    await found.counted(0)


@asyncio_only
async def test_row_29_a_gradient_that_has_gone_astray_is_refused_whole(tmp_path: Path) -> None:
    rows = np.array([1, 2], np.uint32)
    astray = [np.array([[-1.0], [wrong]], np.float32) for wrong in (np.nan, np.inf, -np.inf, 1e30)]
    async with pair(tmp_path) as found:
        await refused(found, [Step(0, (0,), (one,), (rows,)) for one in astray])


@asyncio_only
async def test_row_30_what_has_a_wrong_shape_row_or_table_is_not_applied_at_all(tmp_path: Path) -> None:
    chance = np.random.default_rng(30)
    async with pair(tmp_path) as found:
        await refused(found, [broken(chance) for _ in range(200)])
