"""``cirrus scale`` and ``cirrus kill``: orders to a run, whoever drives it."""

from __future__ import annotations

from argparse import Namespace

from cirrus.attached import kill as ended
from cirrus.attached import scale as scaled
from cirrus.cli.output import print_json
from cirrus.cloud.places import local


async def scale(arguments: Namespace) -> None:
    """Wish for another number of workers, and say who has heard of it."""
    run_id, stage, workers = arguments.run, arguments.stage, arguments.workers
    standing = await scaled(run_id, stage, workers, on=local(arguments.store))
    if arguments.json:
        print_json({"run_id": run_id, "stage": stage, "workers": workers, "run": standing})
        return
    later = "" if standing == "running" else f"; run {run_id} is parked, and goes on with them when it is resumed"
    print(f"{stage}: {workers} workers wished for{later}")


async def kill(arguments: Namespace) -> None:
    """End a run, and say so when nothing of it is left."""
    run_id = arguments.run
    place = local(arguments.store)
    standing = await ended(run_id, stage=arguments.stage, reason=arguments.reason, on=place)
    if arguments.json:
        print_json({"run_id": run_id, "reason": arguments.reason, "run": standing})
        return
    was = "it runs no more" if standing == "running" else "nobody drove it"
    print(f"run {run_id} is killed: {arguments.reason}; {was}, and it cannot be resumed")
