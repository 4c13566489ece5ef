"""A driver whose shards are on hosts that it starts, in a process of its own, for tests that kill it.

``python -m tests.cloud.ec2_drive FOLDER STORE ENDPOINT IDLE``; it says what was learnt.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from cirrus.cloud import ec2_hosts
from cirrus.cloud.ec2 import Ec2Shards
from cirrus.cloud.places import local
from cirrus.events import StageProgress
from cirrus.runs import start
from tests.chaos.ground import Oracle
from tests.cloud.ec2_ground import IMAGE, REGION, address_in

ORACLE = Oracle(passes=14)


def wish(endpoint: str, idle: float = 3600.0, count: int = 1) -> Ec2Shards:
    """Hosts on that server."""
    return Ec2Shards(
        count=count, region=REGION, instance_type="m5.large", image=IMAGE, endpoint_url=endpoint, idle=idle,
        tags={"team": "clicks"},
    )  # fmt: skip


async def drive(folder: Path, store: str, endpoint: str, idle: float) -> None:
    """Take a run to its end."""
    ec2_hosts.address_of = partial(address_in, folder / "hosts")
    ec2_hosts.LOOK = 0.2
    pipeline = ORACLE.pipeline(folder, ORACLE.train(workers=2, shards=2))
    async with start(pipeline, on=local(store, shards=wish(endpoint, idle))) as run:
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage == "train":
                sys.stdout.write(f"{run.run_id} {event.done}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(drive(Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
