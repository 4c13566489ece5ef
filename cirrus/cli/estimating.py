"""``cirrus estimate``: what a run would cost and take, and what the same would on one machine."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from dataclasses import asdict
from typing import get_args

from cirrus import checks
from cirrus.cli.files import beside, changed, load_pipeline, own_sources
from cirrus.cli.output import print_json, print_table
from cirrus.clock import SystemClock
from cirrus.cloud.places import Local
from cirrus.cloud.prices import Architecture, RegionPrices, function_price, read_prices
from cirrus.core.terms import Terms
from cirrus.emulator.place import emulated
from cirrus.estimates import Estimate, Rehearsal, estimate
from cirrus.store.aside import aside

CORE = 1769
"""MB of memory that come with one core; a function with less has a part of one, and takes so much longer."""

HOST = "m5.large"
"""The machine for which it is said what the same would cost there: 2 cores, 8 GB."""


async def estimate_file(arguments: Namespace) -> None:
    """Estimate the pipeline of a file."""
    checks.integer("--memory", arguments.memory, 128, 10_240)
    checks.one_of("--architecture", arguments.architecture, get_args(Architecture))
    region = arguments.region or os.environ.get("AWS_REGION") or "us-east-1"
    prices = await aside(lambda: read_prices(region))
    with beside(arguments.file):
        pipeline = changed(load_pipeline(arguments.file), arguments.set)
        place: Local
        if arguments.on == "emulator":
            place = emulated(memory=arguments.memory, region=region, extra=own_sources(pipeline))
        else:
            price = function_price(region, arguments.architecture, prices)
            place = Rehearsal(terms=Terms(price=price, memory=max(arguments.memory, CORE)))
        if not arguments.json:
            print("running the beginning of the input on this machine", file=sys.stderr)
        found = await estimate(pipeline, place, SystemClock())
    if arguments.on == "local":
        found = found.slowed(max(1.0, CORE / arguments.memory))
    tell(found, region, prices, arguments)


def tell(found: Estimate, region: str, prices: RegionPrices, arguments: Namespace) -> None:
    """Print what was found."""
    here = found.here / 3600 * prices.hosts[HOST] if HOST in prices.hosts else None
    cores = os.cpu_count() or 1
    if arguments.json:
        machine = {"seconds": found.here, "cores": cores, "host": HOST, "host_dollars": here}
        print_json(
            {
                "dollars": found.dollars, "seconds": found.seconds, "rows": found.rows, "measured": found.measured,
                "stages": [asdict(one) for one in found.stages], "beside": found.beside, "one_machine": machine,
                "region": region, "memory": arguments.memory, "dated": prices.dated,
            }
        )  # fmt: skip
        return
    rows = [("rows", f"{found.rows:,.0f}, of which {found.measured:,.0f} were tried")]
    for one in found.stages:
        went = f"{one.rows:,.0f} rows through {one.workers} workers in {one.seconds:,.1f} s"
        rows.append((one.stage, f"{went}, {one.dollars:.6f} dollars"))
    rows.append(("beside them", f"{found.beside:.6f} dollars"))
    where = f"{arguments.memory} MB in {region}, prices of {prices.dated}"
    rows.append(("altogether", f"{found.seconds:,.1f} s, {found.dollars:.6f} dollars ({where})"))
    there = "" if here is None else f", {here:.6f} dollars on an {HOST}"
    rows.append(("the same on one machine", f"{found.here:,.1f} s on the {cores} cores here{there}"))
    print_table(rows)
