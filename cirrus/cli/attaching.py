"""``cirrus attach``: a run that another process drives, shown as ``cirrus run`` shows its own."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict

from cirrus.attached import attach as attached
from cirrus.cli.output import complain, print_json
from cirrus.cli.paging import paged, wished
from cirrus.cli.show import Show, Spent, choose
from cirrus.cloud.places import local
from cirrus.errors import Killed, OutsideError, RunError
from cirrus.events import Event, RunFinished
from cirrus.watching import Elsewhere


class JsonLines:
    """Every event as one JSON object on a line of standard output, as soon as it is there."""

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:  # noqa: ARG002  it shows no cost
        async for event in events:
            print_json({"type": type(event).__name__, **asdict(event)})


class _Listener:
    """The events as they pass by, and the last word of them."""

    def __init__(self, events: AsyncIterator[Event]) -> None:
        self.last: Event | None = None
        self._events = events

    async def all(self) -> AsyncIterator[Event]:
        async for event in self._events:
            self.last = event
            yield event


async def attach(arguments: Namespace) -> None:
    """Show the run to its end, and end as it did; nothing that happens here touches it."""
    show: Show = JsonLines() if arguments.json else choose(as_json=False)
    port = wished(arguments)
    place = local(arguments.store)
    async with (
        aclosing(attached(arguments.run, on=place, say=complain)) as events,
        paged(Elsewhere(arguments.run, place), port),
    ):
        listener = _Listener(events)
        try:
            await show.follow(listener.all(), None)
            if port is not None:
                complain("nothing more is said; the page stays until Ctrl-C")
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            complain(f"detached; run {arguments.run} goes on as it was")
            raise
    match listener.last:
        case RunFinished(outcome="done"):
            return
        case RunFinished(outcome="killed", reason=reason):
            raise Killed(f"run {arguments.run!r}", reason)
        case RunFinished(outcome="failed", reason=reason):
            raise RunError(f"run {arguments.run!r} failed: {reason}")
        case RunFinished(reason=reason):
            raise OutsideError(_parked(arguments.run, reason))
        case _:
            raise OutsideError(_parked(arguments.run, "nobody drives it any more"))


def _parked(run_id: str, reason: str) -> str:
    return f"run {run_id!r} is parked: {reason}; cirrus resume {run_id} goes on with it"
