"""A driver with shards on hosts elsewhere, in a process of its own, for tests that kill it; it says what was learnt.

``python -m tests.chaos.hosted_drive FOLDER URL...``; secret and authority of the hosts stand in the environment.
"""

import asyncio
import sys
from pathlib import Path

from cirrus.cloud.places import local
from cirrus.events import StageProgress
from cirrus.runs import start
from tests.chaos.ground import Oracle

ORACLE = Oracle(passes=14)


async def drive(folder: Path, urls: list[str]) -> None:
    """Take a run to its end."""
    pipeline = ORACLE.pipeline(folder, ORACLE.train(workers=2, shards=2))
    async with start(pipeline, on=local(folder / "store", shards=urls)) as run:
        async for event in run.events():
            if isinstance(event, StageProgress) and event.stage == "train":
                sys.stdout.write(f"{run.run_id} {event.done}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(drive(Path(sys.argv[1]), sys.argv[2:]))
