"""Running a pipeline: ``run`` from beginning to end, ``start`` to watch and steer it while it goes on.

Both work inside any running event loop and leave nothing behind: no task, process, socket, thread or handler. What
is heavy to import is imported on a thread when the first run starts, so that the loop goes on turning meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from cirrus import checks, events
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel, Task
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.base import Place
from cirrus.cloud.places import local
from cirrus.core.cost import Cost
from cirrus.core.views import SinkView, WorkerView
from cirrus.emulator.place import emulated
from cirrus.errors import Killed, PipelineError
from cirrus.notebook import Picture, cells
from cirrus.pipeline import Budget, Pipeline
from cirrus.sinks.base import Sink
from cirrus.sinks.outlets import Outlets, outlets

if TYPE_CHECKING:
    from cirrus.driver import Driver
    from cirrus.results import Result

Where = Place | Literal["local", "emulator"]
"""A place, or the name of one that can do without settings."""


class Run:
    """A run that goes on; made by ``start``."""

    def __init__(self, kernel: Kernel, driver: Driver, bus: EventBus, sinks: Outlets) -> None:
        self._driver = driver
        self._bus = bus
        self._sinks = sinks
        self._outcome: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._killed: Killed | None = None
        self._heard = False
        self._task: Task[None] = kernel.task(self._drive(), name="run")

    @property
    def run_id(self) -> str:
        """The run's name in its store."""
        return self._driver.run_id

    @property
    def workers(self) -> tuple[WorkerView, ...]:
        """Every worker that there may be now."""
        return self._driver.workers

    @property
    def cost(self) -> Cost:
        """What was spent until now, and what is being spent."""
        return self._driver.cost

    @property
    def sinks(self) -> tuple[SinkView, ...]:
        """Each sink of the run, and how many events did not reach it; complete once the run's block is left."""
        return self._sinks.views

    def _repr_html_(self) -> str:
        """What a notebook shows: the run as it is now."""
        return Picture(self._bus.history).html()

    def events(self) -> AsyncIterator[events.Event]:
        """Everything that happens, from the beginning of the run to its end."""
        return self._bus.subscribe()

    async def scale(self, stage: str, workers: int) -> None:
        """Wish for another number of workers of a stage; the pool follows, up or down, to 0 and back.

        ``PipelineError`` where there is no such stage. Nothing happens where the run is over.
        """
        await self._driver.scale(stage, workers)

    async def kill(self, *, stage: str | None = None, trial: int | None = None, reason: str = "by order") -> None:
        """End the run, or end it because one of its stages is not wanted; returns when nothing is left running.

        With ``trial``, end that trial alone; returns when that is written down. ``PipelineError`` where it has ended.
        """
        if trial is not None:
            await self._driver.kill_trial(trial, reason)
            return
        if stage is not None:
            checks.one_of("stage", stage, self._driver.stages)
        if not self._outcome.done() and self._killed is None:
            self._killed = Killed(f"run {self.run_id!r}" if stage is None else f"stage {stage!r}", reason)
            await self._driver.kill(reason)
        await self._task.cancel()
        self._conclude()

    async def result(self) -> Result:
        """Wait for the end; what ended the run early is raised: ``Killed``, ``StageFailed``, ``BudgetExceeded``..."""
        self._heard = True
        return await asyncio.shield(self._outcome)

    async def ended(self) -> None:
        """Wait until nothing of the run is left running, however it ended."""
        await asyncio.wait((self._outcome,))

    @property
    def unheard(self) -> BaseException | None:
        """What ended the run early, unless somebody was told by ``result``, or ordered it by ``kill``."""
        if not self._outcome.done() or self._outcome.cancelled():
            return None
        error = self._outcome.exception()
        return None if self._heard or error is self._killed else error

    async def _drive(self) -> None:
        try:
            result = await self._driver.drive()
        except asyncio.CancelledError:
            self._conclude()
            raise
        except Exception as error:  # noqa: BLE001  the border: whoever waits for the result hears of it
            self._driver.failed(error)
            self._fail(error)
        else:
            self._driver.finished("done", "")
            self._outcome.set_result(result)

    def _fail(self, error: Exception) -> None:
        self._outcome.set_exception(error)
        self._outcome.exception()  # whether anybody asks for the result or not, asyncio need not complain

    def _conclude(self) -> None:
        """Settle the outcome of a run that was ended before its time."""
        if self._outcome.done():
            return
        if self._killed is not None:
            self._driver.finished("killed", self._killed.reason)
            self._fail(self._killed)
        else:
            self._driver.finished("parked", "its task was cancelled")
            self._outcome.cancel()


def _driver(pipeline: Pipeline | str, place: Place, clock: Clock, bus: EventBus, budget: Budget | None) -> Driver:
    """A driver for the run; ``PipelineError`` where workers could not import a stage's model."""
    from cirrus.actors.inspection import check_models  # noqa: PLC0415  too heavy for a loop
    from cirrus.driver import Driver  # noqa: PLC0415  too heavy for a loop

    if isinstance(pipeline, Pipeline):
        check_models(pipeline.models)
        pipeline = replace(pipeline, budget=(budget or Budget()).over(pipeline.budget))
    return Driver(pipeline, place, clock, bus, budget)


def _place(on: Where | None) -> Place:
    """What ``on`` means; ``PipelineError`` where that is nothing."""
    match on:
        case None | "local":
            return local()
        case "emulator":
            return emulated()
        case "aws":
            raise PipelineError("on", on, "cirrus.aws(...), for it has to be told a bucket, a function and a region")
        case Place():
            return on
        case _:
            raise PipelineError("on", on, "'local', 'emulator', cirrus.local(...), cirrus.aws(...) or another place")


@asynccontextmanager
async def start(
    pipeline: Pipeline | str, *, on: Where | None = None, budget: Budget | None = None, sinks: Sequence[Sink] = ()
) -> AsyncIterator[Run]:
    """Start a run and steer it inside the block; leaving the block waits for the run's end.

    The id of a run in place of a pipeline takes up that run where it stands, as ``resume`` does. The limits that
    ``budget`` sets hold in place of the pipeline's. ``sinks`` hear what the run says; none of them can hold it up.
    A run that fails raises its error at the block's end, unless ``result`` has raised it inside. An exception inside
    the block ends the run and comes through as itself; so does cancellation.
    """
    checks.instance("pipeline", pipeline, Pipeline | str, "a Pipeline, or the id of a run")  # type: ignore[arg-type]
    if isinstance(pipeline, str):
        checks.name("pipeline", pipeline)
    place = _place(on)
    checks.instance("budget", budget, Budget | None, "Budget(dollars=..., minutes=...)")  # type: ignore[arg-type]
    for number, sink in enumerate(sinks):
        checks.instance(f"sinks[{number}]", sink, Sink, "cirrus.jsonl(...), prometheus, tensorboard or mlflow")
    clock = SystemClock()
    bus = EventBus()
    async with outlets(bus, sinks, clock) as opened, Kernel(clock) as kernel:
        going = Run(kernel, await kernel.blocking(_driver, pipeline, place, clock, bus, budget), bus, opened)
        yield going
        await going.ended()
    error = going.unheard
    if error is not None:
        raise error


async def run(pipeline: Pipeline, *, on: Where | None = None, sinks: Sequence[Sink] = ()) -> Result:
    """Run a pipeline to its end; cancelling the task leaves nothing running. A notebook shows it meanwhile."""
    async with start(pipeline, on=on, sinks=(*sinks, *cells())) as going:
        return await going.result()


async def resume(
    run_id: str, *, on: Where | None = None, budget: Budget | None = None, sinks: Sequence[Sink] = ()
) -> Result:
    """Go on with a run whose driver is gone, at the step that its shards have saved; ``RunBusy`` if it is not gone.

    The limits that ``budget`` sets hold from now on: one that has ended the run has to be raised.
    """
    async with start(run_id, on=on, budget=budget, sinks=(*sinks, *cells())) as going:
        return await going.result()


def run_sync(pipeline: Pipeline, *, on: Where | None = None, sinks: Sequence[Sink] = ()) -> Result:
    """``run`` for plain scripts, where no event loop is running."""
    return asyncio.run(run(pipeline, on=on, sinks=sinks))
