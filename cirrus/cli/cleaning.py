"""``cirrus gc``: remove what finished runs left behind and nobody reads again."""

from __future__ import annotations

from argparse import Namespace

from cirrus.cli.output import print_json, print_table
from cirrus.clock import SystemClock
from cirrus.cloud.places import local
from cirrus.store.cleaning import needless
from cirrus.store.opening import open_store


async def clean(arguments: Namespace) -> None:
    """Remove needless objects, or only say what would be removed."""
    store = open_store(local(arguments.store).url)
    now = SystemClock().wall()
    count = size = 0
    try:
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
        print_json({"runs": len(runs), "objects": count, "bytes": size, "removed": not arguments.dry_run})
    else:
        verb = "would be removed" if arguments.dry_run else "removed"
        print_table([("runs", str(len(runs))), (verb, f"{count} objects, {size / 2**20:.1f} MB")])
