"""Giving an order to a run that another process drives, or that nobody drives."""

from __future__ import annotations

import secrets
from contextlib import suppress

from cirrus import checks
from cirrus.actors.bus import EventBus
from cirrus.actors.event_log import EventLog
from cirrus.actors.outside_orders import Declined, Heeded, KillOrder, Order, OrderBox, order_name
from cirrus.actors.records import Records, is_gone
from cirrus.clock import Clock
from cirrus.core.cost import Cost
from cirrus.errors import Closed, NotFound, PipelineError, RunBusy
from cirrus.events import RunFinished
from cirrus.store.base import ObjectStore
from cirrus.store.cleaning import OVER
from cirrus.store.fields import Fields
from cirrus.store.holding import Standing, state_of

LOOK = 0.3
"""Seconds between two looks for the answer."""

PATIENCE = 60.0
"""Seconds in which a driver that lives is to answer."""


async def give(order: Order, store: ObjectStore, run_id: str, clock: Clock) -> Standing:
    """Have the run's driver obey, or write a kill down where there is none; what the run was when it heard of it.

    An order to scale a run that is parked is kept for its next driver. ``PipelineError`` where the order is impossible
    or the run is over; ``Closed`` where a driver that lives does not answer: it will when it looks.
    """
    if order.stage is not None:
        checks.one_of("stage", order.stage, await _stages(store, run_id))
    box, name = OrderBox(store, run_id), order_name(clock.wall(), secrets.token_hex(8))
    await box.give(name, order)
    began = clock.monotonic()
    while not await _heeded(box, name):
        if await state_of(store, run_id, clock.wall(), is_gone) == "parked":
            with suppress(RunBusy):  # somebody has just taken it up, or its driver lives after all: it will answer
                await _without_driver(store, run_id, name, order, clock)
                return "parked"
        if clock.monotonic() - began > PATIENCE:
            raise Closed(f"the driver of run {run_id!r} has not answered; the order stays until it does")
        await clock.sleep(LOOK)
    if isinstance(order, KillOrder) and order.trial is None:
        while await state_of(store, run_id, clock.wall(), is_gone) == "running":
            await clock.sleep(LOOK)  # its driver ends what there is
    return "running"


async def _heeded(box: OrderBox, name: str) -> bool:
    """Whether the driver has obeyed; ``PipelineError`` where it has refused."""
    match await box.answer_to(name):
        case Declined(field, given, allowed):
            raise PipelineError(field, given, allowed)
        case Heeded():
            return True
        case None:
            return False


async def _without_driver(store: ObjectStore, run_id: str, name: str, order: Order, clock: Clock) -> None:
    box, outcome = OrderBox(store, run_id), await _outcome(store, run_id)
    if outcome == "killed" and isinstance(order, KillOrder):
        await box.withdraw(name)
    elif outcome in OVER:
        await box.withdraw(name)
        raise PipelineError("run", run_id, f"a run that is not over; this one is {outcome}")
    elif isinstance(order, KillOrder) and order.trial is not None:
        await box.withdraw(name)
        raise PipelineError("run", run_id, "a run that goes on, where a trial is to end; this one is parked")
    elif isinstance(order, KillOrder):
        await _kill(store, run_id, name, order.reason, clock)
        await box.withdraw(name)


async def _kill(store: ObjectStore, run_id: str, name: str, reason: str, clock: Clock) -> None:
    """Be the driver of a parked run for as long as it takes to write down that it is killed; ``RunBusy``."""
    records = await Records.take(store, run_id, clock)
    if not (await records.past()).killed:
        await records.decide("killed", {"reason": reason, "order": name})
    spent = records.spent
    last = RunFinished(at=0.0, outcome="killed", reason=reason, dollars=spent.dollars)
    await EventLog(store, run_id, records.epoch, EventBus()).close(last)
    await records.close("killed", reason, {}, Cost(spent.dollars, spent.worker_seconds, 0.0, 0, 0.0))


async def _outcome(store: ObjectStore, run_id: str) -> str:
    """How the run ended the last time; nothing where it never has."""
    key = f"runs/{run_id}/result.json"
    try:
        return Fields.parsed(key, await store.get(key)).text("outcome")
    except NotFound:
        return ""


async def _stages(store: ObjectStore, run_id: str) -> tuple[str, ...]:
    """The names of the run's stages, whether or not their models can be imported here."""
    key = f"runs/{run_id}/run.json"
    pipeline = Fields.parsed(key, await store.get(key)).text("pipeline")
    return tuple(stage.text("name") for stage in Fields.parsed(key, pipeline.encode()).sections("stages"))
