"""The process of a shard: it says where it listens, keeps its secrets, and does not outlive its driver."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import pytest
from numpy.testing import assert_array_equal

from cirrus.actors.link import Dial
from cirrus.actors.shard_process import Config
from cirrus.actors.steps import StepClient
from cirrus.errors import Closed, WireError
from cirrus.store.manners import STEPS
from cirrus.wire.specs import spec_to_json
from tests.actors.shards import CLOCK, KEY, WEIGHTS, bearer, token
from tests.actors.test_steps import counted, work

ALL = np.arange(100, dtype=np.uint32)


def config(folder: Path, shard: int, shards: int, **more: object) -> bytes:
    told = {"run_id": "clicks", "epoch": 2, "key": KEY.hex(), "shard": shard, "shards": shards}
    told |= {"store": f"file://{folder}", "prefix": f"shards/{shard}/", **more}
    return json.dumps(told).encode() + b"\n"


@asynccontextmanager
async def process(line: bytes) -> AsyncIterator[tuple[Process, str]]:
    """A running shard and its base URL."""
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cirrus.actors.shard_process", stdin=PIPE, stdout=PIPE
    )
    assert made.stdin is not None
    assert made.stdout is not None
    try:
        made.stdin.write(line)
        said = json.loads(await made.stdout.readline())
        assert said["pid"] == made.pid
        yield made, f"http://127.0.0.1:{said['port']}"
    finally:
        if made.returncode is None:
            made.kill()
        await made.communicate()


async def create(session: aiohttp.ClientSession, *urls: str) -> None:
    for url in urls:
        async with session.post(f"{url}/tables", json=[spec_to_json(WEIGHTS)], headers=bearer("driver")) as answer:
            assert answer.status == 200


def dial(session: aiohttp.ClientSession, *urls: str) -> Dial:
    return Dial(urls, token(), session, CLOCK, np.random.default_rng(3), 5.0)


async def test_real_processes_count_every_step_once_through_kills_and_restores(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session, process(config(tmp_path, 0, 2)) as (_, steady):
        async with process(config(tmp_path, 1, 2)) as (victim, url):
            await create(session, steady, url)
            client = await StepClient.connect(dial(session, steady, url), ["weights"])
            await work(client, 0, depth=3, until=7)
            async with session.post(f"{url}/snapshot", headers=bearer("driver")) as answer:
                assert (await answer.json())["ledgers"] == {"0": [0, 0, 0, 6]}
            await work(client, 0, depth=3, until=12)
            victim.kill()
            await victim.wait()
            with pytest.raises(Closed):
                await work(client, 0, until=13)
            await client.close()
        async with process(config(tmp_path, 1, 2, restore=True)) as (_, again):
            client = await StepClient.connect(dial(session, steady, again), ["weights"])
            assert await work(client, 0, attempt=1, depth=3) == 7  # the steps that the dead shard lost, and the rest
            assert client.duplicates == 5
            await work(client, 1, depth=3)
            assert_array_equal((await client.read([ALL]))[0], counted(0, 1))
            await client.close()


async def test_it_ends_with_its_driver_and_saves_before(tmp_path: Path) -> None:
    async with aiohttp.ClientSession() as session:
        async with process(config(tmp_path, 0, 1)) as (shard, url):
            await create(session, url)
            client = await StepClient.connect(dial(session, url), ["weights"])
            await work(client, 0)
            assert shard.stdin is not None
            shard.stdin.close()
            assert await shard.wait() == 0
            await client.close()
        async with process(config(tmp_path, 0, 1, restore=True)) as (shard, url):
            client = await StepClient.connect(dial(session, url), ["weights"])
            assert_array_equal((await client.read([ALL]))[0], counted(0))
            await client.close()
            shard.send_signal(signal.SIGINT)  # a terminal's Ctrl-C reaches the whole group; the driver decides
            async with session.post(f"{url}/stop", json={}, headers=bearer("driver")) as answer:
                assert answer.status == 200
            assert await shard.wait() == 0
        assert len(list((tmp_path / "shards" / "0").iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own here")
@pytest.mark.parametrize("more", [{}, {"restore": True}], ids=["new", "restored"])
async def test_whoever_copies_and_writes_a_snapshot_gives_way_to_the_steps(
    tmp_path: Path, more: Mapping[str, object]
) -> None:
    async with aiohttp.ClientSession() as session, process(config(tmp_path, 0, 1, **more)) as (shard, url):
        await create(session, url)
        async with session.post(f"{url}/snapshot", headers=bearer("driver")) as answer:
            assert answer.status == 200
        threads = [int(one.name) for one in Path(f"/proc/{shard.pid}/task").iterdir()]
        nice = {one: os.getpriority(os.PRIO_PROCESS, one) for one in threads}
        loop = os.getpriority(os.PRIO_PROCESS, os.getpid())
        assert nice[shard.pid] == loop
        lower = [one for one in threads if nice[one] == min(loop + STEPS, 19)]
        assert len(lower) >= 2, "who copies, and who writes"


async def test_sigterm_ends_it_with_a_snapshot(tmp_path: Path) -> None:
    async with process(config(tmp_path, 0, 1)) as (shard, _):
        shard.terminate()
        assert await shard.wait() == 0
    assert (tmp_path / "shards" / "0" / "000000000000").exists()


async def test_secrets_stand_neither_in_arguments_nor_in_the_environment(tmp_path: Path) -> None:
    async with process(config(tmp_path, 0, 1)) as (shard, _):
        seen = psutil.Process(shard.pid)
        shown = " ".join(seen.cmdline()) + str(seen.environ())
        assert KEY.decode() not in shown
        assert KEY.hex() not in shown
        listening = [one.laddr.ip for one in seen.net_connections() if one.status == psutil.CONN_LISTEN]
        assert listening == ["127.0.0.1"]


@pytest.mark.parametrize("line", [b"x" * 100_000, b'{"key": "canary"}\n'])
async def test_nonsense_on_its_input_ends_it_without_repeating_it(line: bytes) -> None:
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "cirrus.actors.shard_process", stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    out, err = await made.communicate(line)
    assert made.returncode != 0
    assert out == b""
    assert b"canary" not in err
    assert b"expected one JSON object" in err


@pytest.mark.parametrize(
    "changed",
    [
        {"run_id": "../x"},
        {"epoch": -1},
        {"shard": 2},
        {"key": "00"},
        {"key": "zz"},
        {"port": 70_000},
        {"exposure": "everywhere"},
        {"restore": "yes"},
        {"prefix": ""},
        {"more": 1},
    ],
)
def test_configurations_are_checked(changed: dict[str, object], tmp_path: Path) -> None:
    good = json.loads(config(tmp_path, 0, 2))
    assert KEY.hex() not in repr(Config.parsed(json.dumps(good).encode()))
    for line in (json.dumps({**good, **changed}).encode(), b"", b"{}", b"[]"):
        with pytest.raises(WireError):
            Config.parsed(line)
