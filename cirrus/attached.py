"""Runs that another process drives, on this machine or another: to watch, to scale, to kill, by their ids.

All goes through the run's store. What is heavy to import is imported on a thread, as for ``cirrus.run``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cirrus import checks
from cirrus.actors.kernel import Kernel, undisturbed
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.places import Local, local
from cirrus.errors import NotFound, PipelineError
from cirrus.events import Event
from cirrus.store.base import ObjectStore
from cirrus.store.holding import Standing

if TYPE_CHECKING:
    from cirrus.actors.following import Following

T = TypeVar("T")

Say = Callable[[str], None]
Give = Callable[[ObjectStore, str, Clock], Awaitable[Standing]]


def _nothing(_sentence: str) -> None:
    """For those who only want the events."""


async def attach(run_id: str, *, on: Local | None = None, say: Say = _nothing) -> AsyncGenerator[Event, None]:
    """Every event of a run from its beginning, and then as it happens, until the run is over or parked.

    Where its driver is gone without a word, ``say`` is told so in a sentence, and what another driver says follows if
    there is one within a minute. ``PipelineError`` where there is no such run, ``Corrupt`` where an event cannot be
    read, as one of a newer version.
    """
    async with _opened(run_id, on) as store:
        following = await _aside(partial(_following, store, run_id, say))
        async for event in following.events():
            yield event


async def scale(run_id: str, stage: str, workers: int, *, on: Local | None = None) -> Standing:
    """Wish for another number of workers of a stage, whoever drives the run; one that is parked goes on with it.

    Returns, once the wish is written down, whether the run was ``running`` or ``parked``.
    """
    checks.integer("workers", workers, 0, 10_000)
    async with _opened(run_id, on) as store:
        give = await _aside(partial(_scaling, stage, workers))
        return await give(store, run_id, SystemClock())


async def kill(
    run_id: str, *, stage: str | None = None, trial: int | None = None, reason: str = "by order",
    on: Local | None = None,
) -> Standing:  # fmt: skip
    """End a run, or end it because one of its stages is not wanted, whoever drives it; it is not resumed any more.

    With ``trial``, end that trial alone: the run goes on. Returns, when its driver has let go of it, whether the run
    was ``running`` or ``parked``.
    """
    checks.text("reason", reason)
    async with _opened(run_id, on) as store:
        give = await _aside(partial(_killing, stage, trial, reason))
        return await give(store, run_id, SystemClock())


def _following(store: ObjectStore, run_id: str, say: Say) -> Following:
    from cirrus.actors.following import Following  # noqa: PLC0415  too heavy for a loop

    return Following(store, run_id, SystemClock(), say)


def _scaling(stage: str, workers: int) -> Give:
    from cirrus.actors.ordering import give  # noqa: PLC0415  too heavy for a loop
    from cirrus.actors.outside_orders import ScaleOrder  # noqa: PLC0415  too heavy for a loop

    return partial(give, ScaleOrder(stage, workers))


def _killing(stage: str | None, trial: int | None, reason: str) -> Give:
    from cirrus.actors.ordering import give  # noqa: PLC0415  too heavy for a loop
    from cirrus.actors.outside_orders import KillOrder  # noqa: PLC0415  too heavy for a loop

    return partial(give, KillOrder(stage, reason, trial))


async def _aside(load: Callable[[], T]) -> T:
    """What ``load`` returns, called on a thread that ends with it."""
    async with Kernel(SystemClock()) as kernel:
        return await kernel.blocking(load)


@asynccontextmanager
async def _opened(run_id: str, on: Local | None) -> AsyncIterator[ObjectStore]:
    """The store of a run that is there."""
    checks.name("run", run_id)
    place = local() if on is None else on
    checks.instance("on", place, Local, "cirrus.local(...)")
    store = place.open()
    try:
        try:
            await store.info(f"runs/{run_id}/run.json")
        except NotFound as error:
            raise PipelineError("run", run_id, "the id of a run in this store; see cirrus ls") from error
        yield store
    finally:
        await undisturbed(store.close())
