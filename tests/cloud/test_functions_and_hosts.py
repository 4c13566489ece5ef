"""Functions under AWS's runtime client whose shards are on a host elsewhere, and not beside the driver."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from cirrus.cloud.served import ServedShards
from cirrus.events import ShardStarted, WorkerStarted
from cirrus.runs import start
from tests.actors.served import HOST, served
from tests.chaos.ground import Oracle
from tests.cloud.lambda_ground import Ground


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_functions_work_on_shards_of_a_host_and_trust_the_runs_own_authority(
    ground: Ground, tmp_path: Path
) -> None:
    oracle = Oracle(rows=640, passes=2)
    async with ground.function() as found, served(tmp_path / "host") as host:
        place = ground.place(found, shards=ServedShards((host.url,), host.secret, host.ca))
        workers = 0
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2, shards=2, memory=512)), on=place) as going:
            async for event in going.events():
                match event:
                    case ShardStarted(address=address, pid=pid):
                        assert address.startswith("https://127.0.0.1:")
                        assert pid in [one.pid for one in host.shards]
                        assert not [one for one in psutil.Process().children() if HOST in one.cmdline()]
                    case WorkerStarted():
                        workers += 1
                    case _:
                        pass
            oracle.check(await going.result())
        assert workers >= 3
        assert not host.shards
