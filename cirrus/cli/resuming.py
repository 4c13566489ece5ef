"""``cirrus resume``: go on with a run whose driver is gone."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import AsyncIterator

from cirrus.cli.files import budget_of
from cirrus.cli.output import print_json
from cirrus.cli.places import chosen
from cirrus.cli.running import follow, print_result, summary
from cirrus.cli.show import Show, Spent, choose
from cirrus.events import Event, StageResumed
from cirrus.pipeline import Budget


class Noting:
    """Shows a run as ``show`` does, and notes where stages go on."""

    def __init__(self, show: Show) -> None:
        self.resumed: list[StageResumed] = []
        self._show = show

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:
        await self._show.follow(self._noted(events), spent)

    async def _noted(self, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async for event in events:
            if isinstance(event, StageResumed):
                self.resumed.append(event)
            yield event


async def resume(arguments: Namespace) -> None:
    """Take the run up where its shards and journal stand, and show it to its end."""
    budget = budget_of(arguments.set, Budget())
    show = Noting(choose(as_json=arguments.json))
    result = await follow(arguments.run, chosen(arguments), show, budget)
    if arguments.json:
        resumed = {one.stage: {"steps": one.steps, "again": one.again} for one in show.resumed}
        print_json({**summary(result), "resumed": resumed})
        return
    said = [(f"{one.stage} resumed at step", f"{one.steps:,}; {one.again:,} done again") for one in show.resumed]
    print_result(result, *said)
