"""``cirrus gc``: remove what runs left behind and nobody reads again, and end hosts that nobody uses."""

from __future__ import annotations

import importlib
from argparse import Namespace

from cirrus.actors.records import is_gone
from cirrus.cli.output import print_json, print_table
from cirrus.clock import SystemClock
from cirrus.cloud.ec2 import RUN, STORE, store_tag
from cirrus.cloud.places import local
from cirrus.errors import PipelineError
from cirrus.store.aside import aside
from cirrus.store.base import ObjectStore
from cirrus.store.cleaning import needless
from cirrus.store.holding import state_of
from cirrus.store.opening import open_store


async def clean(arguments: Namespace) -> None:
    """Remove needless objects and end needless hosts, or only say what would be removed."""
    url = local(arguments.store).url
    if arguments.region and not url.startswith("s3:"):
        raise PipelineError("--store", url, "with --region: the store of runs whose shards are on hosts, as s3://bucket")
    store = open_store(url)
    now = SystemClock().wall()
    count = size = 0
    hosts: list[str] = []
    try:
        if arguments.region:
            hosts = await _hosts(arguments, store, url, now)
        runs = [info.key.split("/")[1] async for info in store.list("runs/") if info.key.endswith("/run.json")]
        for run_id in runs:
            for info in [one async for one in needless(store, run_id, now)]:
                if not arguments.dry_run:
                    await store.delete(info.key)
                count += 1
                size += info.size
    finally:
        await store.close()
    if arguments.json:
        done = not arguments.dry_run
        print_json({"runs": len(runs), "objects": count, "bytes": size, "hosts": hosts, "removed": done})
    else:
        verb = "would be removed" if arguments.dry_run else "removed"
        rows = [("runs", str(len(runs))), (verb, f"{count} objects, {size / 2**20:.1f} MB")]
        print_table([*rows, *(("host", one) for one in hosts)])


async def _hosts(arguments: Namespace, store: ObjectStore, url: str, now: float) -> list[str]:
    """End the hosts on EC2 whose runs nobody drives, unless it is only to be said which they are; returns their ids."""
    ec2 = await aside(lambda: importlib.import_module("cirrus.cloud.ec2_client"))  # and with it the SDK
    async with ec2.ec2_client(arguments.region, arguments.ec2_endpoint_url) as client:
        found = await client.tagged({STORE: store_tag(url)})
        parked = [one for one in found if await state_of(store, one.tags.get(RUN, ""), now, is_gone) == "parked"]
        hosts = [str(one.id) for one in parked]
        if not arguments.dry_run:
            await client.end(hosts)
    return hosts
