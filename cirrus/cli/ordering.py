"""``cirrus scale`` and ``cirrus kill``: orders to a run, whoever drives it."""

from __future__ import annotations

from argparse import Namespace

from cirrus.attached import kill as ended
from cirrus.attached import scale as scaled
from cirrus.cli.output import print_json
from cirrus.cli.places import region
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.lambda_invoker import open_client
from cirrus.cloud.places import local
from cirrus.errors import PipelineError


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
    """End a run, and say so when nothing of it is left; or let no function begin at all."""
    if arguments.all == (arguments.run is not None) or arguments.undo > arguments.all:
        raise PipelineError("kill", arguments.run, "RUN, or --all with or without --undo")
    if arguments.all:
        await _brake(arguments)
        return
    run_id = arguments.run
    place = local(arguments.store)
    trial = arguments.trial
    standing = await ended(run_id, stage=arguments.stage, trial=trial, reason=arguments.reason, on=place)
    if arguments.json:
        print_json({"run_id": run_id, "trial": trial, "reason": arguments.reason, "run": standing})
        return
    if trial is not None:
        print(f"trial {trial} of run {run_id} is killed: {arguments.reason}")
        return
    was = "it runs no more" if standing == "running" else "nobody drove it"
    print(f"run {run_id} is killed: {arguments.reason}; {was}, and it cannot be resumed")


async def _brake(arguments: Namespace) -> None:
    """Reserve no execution for the function, so that none begins, or let them begin again."""
    at = LambdaFunction(name=arguments.function, region=region(arguments), endpoint_url=arguments.endpoint_url)
    count = None if arguments.undo else 0
    client = await open_client(at)
    try:
        await client.reserve(count)
    finally:
        await client.close()
    if arguments.json:
        print_json({"function": at.name, "region": at.region, "reserved": count})
    elif arguments.undo:
        print(f"function {at.name} may run again; no executions are reserved for it")
    else:
        print(f"function {at.name} begins no more; who works now goes on until it is told to leave or its time is up")
