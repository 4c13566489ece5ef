"""A run in a notebook: a picture that is drawn again while the run goes on; no script runs in the page.

Only where IPython has a kernel, that is, somebody to show HTML to; IPython is never imported, only looked for.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from cirrus import pictures
from cirrus.actors.kernel import Kernel
from cirrus.core.tally import Sight, Tally, TrialSight
from cirrus.events import Event, LossReported, ResourcesReported, RunFinished, RunStarted
from cirrus.sinks.base import Outlet, Sink
from cirrus.sinks.lines import line
from cirrus.sinks.pausing import pause

PAUSE: Final = 0.5
"""Seconds between two drawings."""

MOST_POINTS: Final = 200
"""Points of one curve; when there are more, every second one is forgotten, never the newest."""

BEST: Final = 5
"""Trials with a colour in the chart."""


class Picture:
    """A run as one piece of HTML, from its events."""

    def __init__(self, said: Iterable[Event] = ()) -> None:
        self._tally = Tally()
        self._curves: dict[tuple[str, int | None], list[tuple[float, float]]] = {}
        self._run = "run"
        self._at = 0.0
        self._used: ResourcesReported | None = None
        self._end: RunFinished | None = None
        for event in said:
            self.take(event)

    def take(self, event: Event) -> None:
        """Take in what happened."""
        self._at = event.at
        self._tally.take(event)
        match event:
            case RunStarted(run_id=run_id):
                self._run, self._end = run_id, None
            case RunFinished():
                self._end = event
            case ResourcesReported():
                self._used = event
            case LossReported(stage=stage, trial=trial, samples=samples, loss=loss):
                points = self._curves.setdefault((stage, trial), [])
                points.append((float(samples), loss))
                if len(points) > MOST_POINTS:
                    points[:] = points[::-1][::2][::-1]
            case _:
                pass

    @property
    def title(self) -> str:
        """The run's name and state in one line."""
        if self._end is None:
            return f"{self._run}: running"
        return f"{self._run}: {self._end.outcome}" + (f", {self._end.reason}" if self._end.reason else "")

    def html(self) -> str:
        """All of it as it is now."""
        stages = [_stage(name, sight, self._tally, self._at) for name, sight in self._tally.stages.items()]
        head = ("stage", "progress", "rows", "rows/s", "workers", "log loss", "time")
        return pictures.framed(
            pictures.heading(self.title),
            pictures.sentence(self._spent()),
            pictures.table(head, stages) if stages else "",
            pictures.chart("log loss on the test rows against samples", "samples", self._lines()),
            pictures.trials(_row(trial) for trial in self._tally.trials.values()),
        )

    def _spent(self) -> str:
        seconds, used = timedelta(seconds=int(self._at)), self._used
        dollars = self._end.dollars if self._end is not None else 0.0 if used is None else used.dollars
        parts = [str(seconds), f"${dollars:.4f}"]
        if used is not None and self._end is None:
            parts += [f"${used.dollars_per_second:.6f}/s", f"{sum(used.working.values())} workers"]
            parts.append(f"memory: shards {used.shard_mb:.0f} MB, driver {used.driver_mb:.0f} MB")
            parts += [] if used.budget is None else [f"budget ${used.budget:g}"]
        return ", ".join(parts)

    def _lines(self) -> list[pictures.Curve]:
        best = {(one.stage, one.number) for one in self._tally.ranked[:BEST]}
        return [
            pictures.Curve(points, line(*key) if key[1] is None or key in best else "")
            for key, points in self._curves.items()
        ]


def _row(trial: TrialSight) -> pictures.Row:
    return trial.number, trial.settings, trial.state, trial.loss, trial.samples, trial.dollars


def _stage(name: str, sight: Sight, tally: Tally, now: float) -> tuple[str, ...]:
    finished = sight.seconds is not None
    seconds = now - sight.began if sight.seconds is None else sight.seconds
    return (
        name,
        "done" if finished else f"{sight.done} of {sight.total}" if sight.total else str(sight.done),
        f"{sight.rows:,}",
        f"{sight.rate:,.0f}",
        "" if finished else f"{tally.workers(name)} of {sight.wished}",
        "" if sight.loss is None else f"{sight.loss:.4f}",
        f"{seconds:.1f} s",
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """The output of the notebook's cell that started the run."""

    display: Any
    name: str = "notebook"

    def outlet(self, kernel: Kernel) -> Outlet:
        return _Drawn(kernel, self.display)


class _Shown:
    """What IPython asks for both forms."""

    def __init__(self, picture: Picture) -> None:
        self._html, self._text = picture.html(), picture.title

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str:
        return self._html


class _Drawn:
    """Draws on the loop, twice a second at most, in one place of the page."""

    def __init__(self, kernel: Kernel, display: Any) -> None:
        self.problem = ""
        self.dropped = 0
        self._kernel = kernel
        self._display = display
        self._picture = Picture()
        self._news = asyncio.Event()
        self._over = asyncio.Event()

    async def follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            self._picture.take(event)
            self._news.set()

    def finish(self) -> None:
        self._over.set()
        self._news.set()

    async def pour(self) -> None:
        place: Any = None
        while not self.problem:
            last = self._over.is_set()
            try:
                if place is None:
                    place = self._display(_Shown(self._picture), display_id=True)
                else:
                    place.update(_Shown(self._picture))
            except Exception as error:  # noqa: BLE001  whatever the notebook does, the run goes on
                self.problem = f"{type(error).__name__}: {error}"
            if last:
                break
            self._news.clear()
            await pause(self._kernel, PAUSE, self._over)
            await self._news.wait()


def cells() -> tuple[Sink, ...]:
    """The cell of the notebook that runs this, if that is what runs it."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return ()
    return (Cell(sys.modules["IPython.display"].display),)
