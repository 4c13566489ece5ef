"""Hosts that a run starts on EC2, as moto keeps them and ``ec2_ground`` boots them: tagged, paid, and ended."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from secrets import token_hex

import pytest

from cirrus.cli.main import parser
from cirrus.cli.places import chosen
from cirrus.cloud import ec2_hosts
from cirrus.cloud.certificates import Authority
from cirrus.cloud.ec2 import EPOCH, NUMBER, RUN, STORE, Ec2Shards, store_tag
from cirrus.cloud.ec2_script import Service, script
from cirrus.cloud.places import local
from cirrus.errors import InvokeError, PipelineError, StageFailed
from cirrus.events import StageProgress, StageResumed
from cirrus.runs import run, start
from cirrus.testing.seaweed import Seaweed
from tests.chaos.drivers import TREE
from tests.chaos.ground import Oracle
from tests.chaos.models import Diverging
from tests.cloud.ec2_drive import ORACLE, wish
from tests.cloud.ec2_ground import IMAGE, REGION, Machines, address_in, machines
from tests.deploy.moto_server import moto_server

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
SMALL = Oracle(rows=640, passes=2)
PRICE = 0.096  # dollars for an hour of an m5.large


Cloud = tuple[Machines, str, str]


@pytest.fixture
async def ec2(tmp_path: Path, server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    """EC2 with nothing in it, its URL, and that of a store."""
    monkeypatch.setattr(ec2_hosts, "address_of", partial(address_in, tmp_path / "hosts"))
    monkeypatch.setattr(ec2_hosts, "LOOK", 0.2)
    store = f"s3://on-ec2/{token_hex(4)}?endpoint={server.endpoint}&region=us-east-1"
    with moto_server() as endpoint:
        async with machines(tmp_path / "hosts", endpoint, server.environment) as made:
            yield made, endpoint, store


async def collected(store: str, endpoint: str, *more: str) -> list[str]:
    """The hosts that ``cirrus gc`` says it has ended."""
    words = [sys.executable, "-m", "cirrus", "gc", "--store", store, "--region", REGION, "--ec2-endpoint-url", endpoint]
    process = await asyncio.create_subprocess_exec(*words, "--json", *more, stdout=PIPE, cwd=TREE)
    said, _ = await process.communicate()
    hosts: list[str] = json.loads(said)["hosts"]
    return hosts


@asyncio_only
async def test_hosts_are_tagged_paid_and_ended_with_the_run(ec2: Cloud, tmp_path: Path) -> None:
    made, endpoint, store = ec2
    place = local(store, shards=wish(endpoint, count=2))
    async with start(ORACLE.pipeline(tmp_path, ORACLE.train(workers=2, shards=2)), on=place) as going:
        seen: list[dict[str, object]] = []
        rate = committed = 0.0
        async for event in going.events():
            if isinstance(event, StageProgress) and event.stage == "train" and not seen:
                seen = await made.listed()
                rate = going.cost.dollars_per_second
                committed = going.cost.committed_dollars
                await going.scale("train", 0)  # the run waits
                assert await collected(store, endpoint) == [], "somebody drives the run"
                assert len(await made.alive()) == 2
                await going.scale("train", 2)
        result = await going.result()
    ORACLE.check(result)
    assert len(seen) == 2
    assert rate == pytest.approx(2 * PRICE / 3600)
    assert committed >= 2 * PRICE, "left alone, they are there for an hour more"
    for number, host in enumerate(seen):
        tags = {one["Key"]: one["Value"] for one in host["Tags"]}  # type: ignore[attr-defined]
        assert tags == {
            RUN: going.run_id, STORE: store_tag(store), EPOCH: "1", NUMBER: str(number), "team": "clicks",
            "Name": f"cirrus {going.run_id} shards {number}",
        }  # fmt: skip
        assert (host["InstanceType"], host["ImageId"]) == ("m5.large", IMAGE)
    assert not await made.alive()
    assert len(await made.listed()) == 2
    lasted = going.cost.kinds["shards"] / (2 * PRICE / 3600)
    assert 60 <= lasted < 600, "a minute at least, or what it took"
    assert result.cost.kinds["shards"] == going.cost.kinds["shards"]
    assert result.cost.dollars_per_second == 0


@asyncio_only
async def test_hosts_end_with_a_run_that_fails_or_is_parked(ec2: Cloud, tmp_path: Path) -> None:
    made, endpoint, store = ec2
    place = local(store, shards=wish(endpoint))
    stage = SMALL.train(workers=1)
    failing = replace(stage, model=Diverging(room=SMALL.steps, at=10, wrong="nan"))
    with pytest.raises(StageFailed):
        await run(SMALL.pipeline(tmp_path, failing), on=place)
    assert (len(await made.listed()), await made.alive()) == (1, [])
    async with asyncio.TaskGroup() as group:
        parked = group.create_task(run(ORACLE.pipeline(tmp_path, ORACLE.train(workers=1)), on=place))
        while not await made.alive():
            await asyncio.sleep(0.1)
        parked.cancel()  # while it waits for its host
    assert (len(await made.listed()), await made.alive()) == (2, [])


@asynccontextmanager
async def driven(folder: Path, store: str, endpoint: str, idle: float) -> AsyncIterator[tuple[Process, str]]:
    """A driver that has learnt for a while, and its run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cloud.ec2_drive", str(folder), store, endpoint, str(idle), stdout=PIPE, cwd=TREE
    )
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


@asyncio_only
async def test_hosts_of_a_driver_that_was_killed_are_ended_by_gc_or_by_who_goes_on(
    ec2: Cloud, tmp_path: Path
) -> None:
    made, endpoint, store = ec2
    async with driven(tmp_path, store, endpoint, 3600) as (first, run_id):
        first.kill()
        await first.wait()
        (host,) = await made.alive()
        assert await collected(store, endpoint, "--dry-run") == [host]
        assert await made.alive() == [host]
        assert await collected(store, endpoint) == [host]
        assert await made.alive() == []
        async with start(run_id, on=local(store, shards=wish(endpoint))) as again:
            said = [event async for event in again.events()]
            ORACLE.check(await again.result())
    assert [event for event in said if isinstance(event, StageResumed)]
    assert again.cost.kinds["earlier"] >= PRICE, "whoever goes on pays what the other may have come to"
    assert (len(await made.listed()), await made.alive()) == (2, [])


@asyncio_only
async def test_a_host_that_nobody_speaks_to_shuts_down_by_itself(
    ec2: Cloud, tmp_path: Path
) -> None:
    made, endpoint, store = ec2
    async with driven(tmp_path, store, endpoint, 10) as (first, _):
        (host,) = await made.alive()
        first.kill()
        await first.wait()
        async with asyncio.timeout(90):
            while await made.alive():
                await asyncio.sleep(0.2)
    assert (tmp_path / "hosts" / host / "shutdown").exists(), "the host has done it, nobody else"


def test_the_command_asks_for_the_same_hosts() -> None:
    words = ["run", "x.py", "--on", "aws", "--bucket", "bucket", "--region", REGION, "--ec2-shards", "2"]
    more = ["--instance-type", "c5.large", "--instance-profile", "p", "--subnet", "s", "--security-group", "g"]
    wished = Ec2Shards(
        count=2, region=REGION, instance_type="c5.large", profile="p", subnet="s", security_groups=("g",)
    )  # fmt: skip
    assert chosen(parser().parse_args([*words, *more])).shards == wished
    for wrong in (["--shard", "wss://a:1"], ["--on", "local"], ["--on", "emulator"]):
        with pytest.raises(PipelineError):
            chosen(parser().parse_args([*words, *wrong]))


def test_what_hosts_do_first_passes_shellcheck_and_keeps_quoting(tmp_path: Path) -> None:
    identity = Authority("hosts", 0.0, 30).identity(["shards.cirrus.internal"])
    packages = ("cirrus-serverless[shards]==0.1.0", "it's; rm never")
    path = tmp_path / "user-data.sh"
    path.write_text(script(Service(packages, 7443, 8, 3600.0, "a-secret-for-this-run", identity)))
    words = [str(Path(sys.executable).with_name("shellcheck")), "--severity=style", str(path)]
    checked = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout) == (0, "")
    assert """install -q 'cirrus-serverless[shards]==0.1.0' 'it'"'"'s; rm never'""" in path.read_text()
    assert len(path.read_bytes()) < 16_384, "what EC2 takes"


@asyncio_only
async def test_what_ec2_refuses_is_an_error_and_unknown_prices_are_refused_before(
    ec2: Cloud, tmp_path: Path
) -> None:
    made, endpoint, store = ec2
    pipeline = SMALL.pipeline(tmp_path, SMALL.train(workers=1))
    unknown = Ec2Shards(count=1, region=REGION, instance_type="z9.huge", endpoint_url=endpoint)
    with pytest.raises(PipelineError, match="instance_type"):
        await run(pipeline, on=local(store, shards=unknown))
    wrong = Ec2Shards(count=1, region=REGION, image=IMAGE, subnet="subnet-12345678", endpoint_url=endpoint)
    with pytest.raises(InvokeError, match="subnet-12345678"):
        await run(pipeline, on=local(store, shards=wrong))
    with pytest.raises(PipelineError, match="a store that the hosts of shards reach"):
        await run(pipeline, on=local(tmp_path / "store", shards=wish(endpoint)))
    assert await made.listed() == []
    assert Ec2Shards(count=1, region=REGION, instance_type="m7g.large").image_id.endswith("-arm64")
    assert Ec2Shards(count=1, region=REGION, instance_type="g5.xlarge").image_id.endswith("-x86_64")
