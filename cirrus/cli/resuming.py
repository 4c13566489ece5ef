"""``cirrus resume``: go on with a run whose driver is gone."""

from __future__ import annotations

from argparse import Namespace

from cirrus.cli.files import budget_of
from cirrus.cli.output import print_json
from cirrus.cli.places import chosen
from cirrus.cli.running import follow, print_result, summary
from cirrus.pipeline import Budget


async def resume(arguments: Namespace) -> None:
    """Take the run up where its shards and journal stand, and show it to its end."""
    budget = budget_of(arguments.set, Budget())
    result = await follow(arguments.run, chosen(arguments), quiet=arguments.json, budget=budget)
    if arguments.json:
        print_json(summary(result))
    else:
        print_result(result)
