"""Runs whose shards live on hosts that serve them, over TLS: exact, whatever dies; and nobody else comes in."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cirrus.actors.hosting import END, EndShard, bearer
from cirrus.actors.trust import trusting
from cirrus.clock import SystemClock
from cirrus.cloud.places import local
from cirrus.cloud.served import ServedShards
from cirrus.errors import PipelineError, Refused, Untrusted
from cirrus.events import ShardRestarted, ShardStarted, StageProgress, StageResumed
from cirrus.runs import run, start
from tests.actors.served import Served, both, ports, secret_in, served, variables
from tests.chaos.drivers import TREE
from tests.chaos.ground import Oracle, kill
from tests.chaos.hosted_drive import ORACLE
from tests.chaos.test_matrix_shards import often

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])
SMALL = Oracle(rows=640, passes=2)


class Relay:
    """Passes bytes on to a port and back, until they are ``cut``; counts the connections."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connections = 0
        self._ends: list[asyncio.StreamWriter] = []

    async def come(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        back, there = await asyncio.open_connection("127.0.0.1", self.port)
        self._ends += [writer, there]
        await asyncio.gather(_pass_on(reader, there), _pass_on(back, writer))

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()
        self._ends.clear()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, RuntimeError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def hosted_driver(folder: Path, host: Served) -> AsyncIterator[tuple[Process, str]]:
    """A driver that has learnt for a while, and its run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.hosted_drive", str(folder), host.url, stdout=PIPE, cwd=TREE,
        env={**os.environ, **variables(host)},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while True:
            said = (await process.stdout.readline()).decode()
            assert said, "the driver has ended"
            run_id, done = said.split()
            if int(done) > 110:
                break
        yield process, run_id
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@uvloop_only
async def test_a_run_counts_exactly_on_two_hosts_which_stay_for_the_next(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    secret_in(one, two)
    async with served(one) as first, served(two) as second:
        place = local(tmp_path / "store", shards=both(first, second, tmp_path))
        for _ in range(2):
            async with start(SMALL.pipeline(tmp_path, SMALL.train(workers=2, shards=3)), on=place) as going:
                begun = [event async for event in going.events() if isinstance(event, ShardStarted)]
                SMALL.check(await going.result())
            assert [event.shard for event in begun] == [0, 1, 2]
            assert all(event.address.startswith("https://127.0.0.1:") for event in begun)
            assert not first.shards
            assert not second.shards
        assert first.process.returncode is second.process.returncode is None


@asyncio_only
async def test_a_served_shard_that_dies_is_started_again_in_its_place(tmp_path: Path) -> None:
    oracle = Oracle(passes=6)
    async with served(tmp_path / "host") as host:
        place = local(tmp_path / "store", shards=ServedShards((host.url,), host.secret, host.ca))
        pids: dict[int, int] = {}
        restarted: list[ShardRestarted] = []
        async with start(oracle.pipeline(tmp_path, often(oracle.train(workers=2, shards=2))), on=place) as going:
            async for event in going.events():
                match event:
                    case ShardStarted(shard=shard, pid=pid):
                        pids[shard] = pid
                    case ShardRestarted():
                        restarted.append(event)
                    case StageProgress(stage="train", done=done) if pids and done >= oracle.units // (len(pids) + 1):
                        assert kill(pids.pop(min(pids)))
            oracle.check(await going.result())
    assert sorted(event.shard for event in restarted) == [0, 1]
    assert all(event.reason == "its process ended with exit code -9" for event in restarted)


@asyncio_only
async def test_a_lost_connection_to_the_host_is_made_again_and_the_shard_does_not_notice(tmp_path: Path) -> None:
    oracle = Oracle(passes=5)
    async with served(tmp_path / "host") as host:
        relay = Relay(host.port)
        server = await asyncio.start_server(relay.come, "127.0.0.1", 0)
        url = f"wss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        place = local(tmp_path / "store", shards=ServedShards((url,), host.secret, host.ca))
        cuts = 0
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as going:
            async for event in going.events():
                assert not isinstance(event, ShardRestarted)
                if isinstance(event, StageProgress) and event.stage == "train" and relay.connections == cuts + 1 < 3:
                    relay.cut()
                    cuts += 1
                    await _intrude(host, going.run_id)
            oracle.check(await going.result())
        server.close()
        assert relay.connections >= cuts + 1 == 3
        assert not host.shards


@asyncio_only
async def test_a_host_that_is_killed_and_started_again_has_its_shards_back(tmp_path: Path) -> None:
    oracle, port = Oracle(passes=8), ports(3)
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(served(tmp_path / "host", "--shards", "2", port=port))
        place = local(tmp_path / "store", shards=ServedShards((host.url,), host.secret, host.ca))
        restarted: list[ShardRestarted] = []
        killed = False
        pipeline = oracle.pipeline(tmp_path, often(oracle.train(workers=2, shards=2)))
        async with start(pipeline, on=place) as going:
            async for event in going.events():
                match event:
                    case ShardStarted(address=address):
                        assert address in (f"https://127.0.0.1:{port + 1}", f"https://127.0.0.1:{port + 2}")
                    case ShardRestarted():
                        restarted.append(event)
                    case StageProgress(stage="train", done=done) if not killed and done > 100:
                        killed = kill(host.process.pid)
                        await stack.enter_async_context(served(tmp_path / "host", "--shards", "2", port=port))
            oracle.check(await going.result())
    assert killed
    assert {(event.shard, event.reason) for event in restarted} == {
        (0, "its host has lost it"),
        (1, "its host has lost it"),
    }


async def _intrude(host: Served, run_id: str) -> None:
    """Come in as that run's driver with a broken message; then end its shard as a driver of another run."""
    clock, secret = SystemClock(), host.secret.encode()
    url = host.url.replace("wss", "https")
    async with trusting(host.ca.read_text()) as session:
        async with session.ws_connect(f"{url}/shard", headers=bearer(secret, clock, run_id, 1)) as socket:
            await socket.send_bytes(b"nonsense")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
        data, other = END.encode(EndShard(run_id, 0)), bearer(secret, clock, "another-run", 9)
        async with session.post(f"{url}/shard/end", data=data, headers=other) as answer:
            assert answer.status == 403
        older = bearer(secret, clock, run_id, 0)
        async with session.post(f"{url}/shard/end", data=data, headers=older) as answer:
            assert (answer.status, await answer.json()) == (200, {"ended": False})
        async with session.post(f"{url}/shard/end", data=b"nonsense", headers=older) as answer:
            assert answer.status == 400


@uvloop_only
async def test_a_driver_that_goes_on_with_a_run_takes_the_shards_over_from_one_that_was_killed(tmp_path: Path) -> None:
    async with served(tmp_path / "host") as host:
        async with hosted_driver(tmp_path, host) as (first, run_id):
            pids = {one.pid for one in host.shards}
            assert len(pids) == 2
            first.kill()
            await first.wait()
            place = local(tmp_path / "store", shards=ServedShards((host.url,), host.secret, host.ca))
            async with start(run_id, on=place) as again:
                said = [event async for event in again.events()]
                ORACLE.check(await again.result())
        assert not pids & {event.pid for event in said if isinstance(event, ShardStarted)}
        (resumed,) = [event for event in said if isinstance(event, StageResumed)]
        assert resumed.units >= 100, "all that had been learnt was saved"
        assert not host.shards


@asyncio_only
async def test_a_host_that_nobody_speaks_to_parks_its_shards_ends_by_itself_and_says_so(tmp_path: Path) -> None:
    mark = tmp_path / "ended"
    async with served(tmp_path / "host", "--patience", "2", "--idle", "15", "--at-end", f"touch {mark}") as host:
        async with hosted_driver(tmp_path, host) as (first, run_id):
            shards = host.shards
            first.kill()
            await first.wait()
            assert await asyncio.wait_for(host.process.wait(), 60) == 0
        assert mark.exists()
        assert not any(one.is_running() for one in shards)
    async with served(tmp_path / "host") as host:  # another day
        place = local(tmp_path / "store", shards=ServedShards((host.url,), host.secret, host.ca))
        async with start(run_id, on=place) as again:
            said = [event async for event in again.events()]
            ORACLE.check(await again.result())
    (resumed,) = [event for event in said if isinstance(event, StageResumed)]
    assert resumed.units >= 100, "all that had been learnt was saved"


@asyncio_only
async def test_strangers_are_refused_and_named(tmp_path: Path) -> None:
    async with served(tmp_path / "host") as host, served(tmp_path / "other") as other:
        pipeline = SMALL.pipeline(tmp_path, SMALL.train(workers=1))

        async def refused(shards: ServedShards, kind: type[Exception]) -> str:
            with pytest.raises(kind) as caught:
                await run(pipeline, on=local(tmp_path / "store", shards=shards))
            assert host.secret not in str(caught.value)
            return str(caught.value)

        address = host.url.replace("wss", "https")
        assert address in await refused(ServedShards((host.url,), host.secret, other.ca), Untrusted)
        assert address in await refused(ServedShards((host.url,), other.secret, host.ca), Refused)
        assert not host.shards
        assert host.secret not in repr(ServedShards((host.url,), host.secret, host.ca))
        with pytest.raises(PipelineError, match="CIRRUS_SHARD_SECRET"):
            await run(pipeline, on=local(tmp_path / "store", shards=[host.url]))


@asyncio_only
async def test_nobody_comes_in_without_tls_or_a_token(tmp_path: Path) -> None:
    async with served(tmp_path / "host") as host:
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"http://127.0.0.1:{host.port}/healthz")
        url = host.url.replace("wss", "https")
        stranger = bearer(b"another-secret-of-16", SystemClock(), "clicks", 1)
        async with trusting(host.ca.read_text()) as session:
            async with session.get(f"{url}/healthz") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
            for headers in ({}, stranger, {"Authorization": f"Bearer {host.secret}"}):
                for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
                    for path in ("/shard", "/shard/end", "/", "/nowhere", "/shards"):
                        async with session.request(method, url + path, headers=headers) as answer:
                            assert answer.status == 401, (method, path)
        assert not host.shards


@asyncio_only
async def test_the_command_takes_hosts_whose_secret_stands_in_the_environment(tmp_path: Path) -> None:
    async with served(tmp_path / "host") as host:
        words = [sys.executable, "-m", "cirrus", "demo", "--rows", "2000", "--json", "--store", str(tmp_path / "store")]
        process = await asyncio.create_subprocess_exec(
            *words, "--shard", host.url, stdout=PIPE, env={**os.environ, **variables(host)}
        )
        said, _ = await process.communicate()
        assert process.returncode == 0
        assert 0 < json.loads(said)["log_loss"] < 0.7
        assert not host.shards
        told = await asyncio.create_subprocess_exec(
            *words, "--shard", host.url, "--on", "emulator", stderr=PIPE, env={**os.environ, **variables(host)}
        )
        _, complaint = await told.communicate()
        assert told.returncode == 2
        assert b"--shard" in complaint


@pytest.mark.parametrize("urls", ["wss://a:1", ("ws://a:1",), ("https://a:1",), ("wss://",), ("wss://u@a:1",), ()])
def test_urls_of_hosts_are_checked(urls: object, tmp_path: Path) -> None:
    with pytest.raises(PipelineError):
        local(tmp_path, shards=urls)  # type: ignore[arg-type]


async def test_hosts_elsewhere_need_a_store_that_they_reach(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    shards = ServedShards(("wss://shards.example:7443",), "a-secret-that-is-long", tmp_path / "ca.pem")
    with pytest.raises(PipelineError, match="a store that the hosts of shards reach"):
        await run(SMALL.pipeline(tmp_path, SMALL.train(workers=1)), on=local(tmp_path / "store", shards=shards))
