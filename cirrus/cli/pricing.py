"""``cirrus prices``: what a run on AWS is billed at, and a newer list from AWS itself."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from aiohttp import ClientSession

from cirrus import checks
from cirrus.cli.output import print_json, print_table
from cirrus.cloud.price_list import URL, fetch_prices
from cirrus.cloud.prices import RegionPrices, all_prices, read_prices, refreshed_file, write_prices
from cirrus.errors import PipelineError
from cirrus.store.aside import aside

COLUMNS = ("region", "dated", "x86_64 GB-s", "arm64 GB-s", "1M invokes", "1k PUT", "1k GET", "GB-month", "hosts, 1 h")


async def prices(arguments: Namespace) -> None:
    """Print the table, after asking AWS for one region's newest prices where that is wished for."""
    region = arguments.region
    if region:
        checks.name("--region", region)
    if arguments.refresh:
        await _refresh(region, arguments.url or URL)
    elif arguments.url:
        raise PipelineError("--url", arguments.url, "with --refresh")
    table: Mapping[str, RegionPrices] = (
        {region: await aside(lambda: read_prices(region))} if region else await aside(all_prices)
    )
    if arguments.json:
        print_json({name: asdict(table[name]) for name in sorted(table)})
    else:
        print_table([COLUMNS, *(_row(name, table[name]) for name in sorted(table))])


async def _refresh(region: str | None, url: str) -> None:
    if not region:
        raise PipelineError("--region", region, "the region whose prices are to be asked for, such as us-west-2")
    async with ClientSession() as session:
        found = await fetch_prices(session, region, url)
    file: Path = refreshed_file()
    await aside(lambda: write_prices(region, found, file))
    print(f"prices of {found.dated} for {region} are kept in {file}", file=sys.stderr)


def _row(region: str, one: RegionPrices) -> tuple[str, ...]:
    hosts = ", ".join(f"{name} {dollars:g}" for name, dollars in sorted(one.hosts.items()))
    return (
        region, one.dated, f"{one.x86_64:.10f}", f"{one.arm64:.10f}", f"{one.request * 1e6:g}",
        f"{one.put * 1e3:g}", f"{one.get * 1e3:g}", f"{one.storage:g}", hosts,
    )  # fmt: skip
