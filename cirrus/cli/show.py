"""What a run looks like in a terminal: live bars with rich, or plain lines where the output is piped."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from cirrus.core.cost import Cost
from cirrus.core.tally import Tally
from cirrus.events import (
    Event,
    LossReported,
    RunStarted,
    StageFinished,
    StageProgress,
    TrialFinished,
    TrialStarted,
    WorkerStarted,
)
from cirrus.sentences import sentence, settled

LEAST_PAUSE = 2.0
PAUSE = 0.1
"""Between two lines of progress of a stage: so many seconds, and this part of the time that has passed."""

Spent = Callable[[], Cost]
"""What the run has cost until now."""


class Show(Protocol):
    """Follows a run's events to their end."""

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:
        """Show each event until there are no more; ``spent`` is known where the run is driven here."""
        ...


class Silent:
    """Shows nothing: the caller prints one JSON object at the end."""

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:  # noqa: ARG002  it shows no cost
        async for _ in events:
            pass


class Lines:
    """Plain lines on standard error, fewer of a kind the longer a run goes on, so that a log stays short."""

    def __init__(self) -> None:
        self._tally = Tally()
        self._said: dict[tuple[type[Event], str], float] = {}

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:  # noqa: ARG002  the end says the cost
        async for event in events:
            self._tally.take(event)
            if isinstance(event, RunStarted):
                self._said.clear()  # another driver's seconds begin at 0
            line = self._line(event)
            if line:
                print(f"{event.at:8.2f}s  {line}", file=sys.stderr, flush=True)

    def _line(self, event: Event) -> str:
        match event:
            case StageProgress(stage=stage):
                sight = self._tally.stages[stage]
                rate = f", {sight.rate:,.0f} rows/s, {sight.hands}" if sight.rate else ""
                line = sentence(event) + rate + self._running(stage)
                return line if event.done == event.total or self._due(event) else ""
            case LossReported(trial=None):
                return sentence(event) if event.final or self._due(event) else ""
            case LossReported() | TrialStarted() | TrialFinished():
                return self._tried(event)
            case StageFinished(stage=stage):
                return sentence(event) + self._best(stage)
            case WorkerStarted(stage=stage):
                return f"{stage}: all workers are here" if self._complete(stage) else ""
            case _:
                return sentence(event)

    def _running(self, stage: str) -> str:
        states = [trial.state for trial in self._tally.trials.values() if trial.stage == stage]
        running = states.count("running")
        return f", {running} trials go on, {len(states) - running} are over" if states else ""

    def _best(self, stage: str) -> str:
        best = self._tally.best(stage)
        if best is None:
            return ""
        return f"; the best is trial {best.number} at log loss {best.loss:.4f}: {settled(best.settings)}"

    def _tried(self, event: LossReported | TrialStarted | TrialFinished) -> str:
        """A trial's end says it all, and there are many: only the best so far and those ended by order all have one."""
        if not isinstance(event, TrialFinished):
            return ""
        best = self._tally.best(event.stage)
        is_best = best is not None and best.number == event.trial
        if not (is_best or event.outcome == "killed" or self._due(event)):
            return ""
        trial = self._tally.trials.get((event.stage, event.trial))
        settings = f" ({settled(trial.settings)})" if trial is not None and trial.settings else ""
        return sentence(event) + settings + (", the best so far" if is_best else "")

    def _complete(self, stage: str) -> bool:
        sight = self._tally.stages.get(stage)
        return sight is not None and self._tally.workers(stage) == sight.wished

    def _due(self, event: StageProgress | LossReported | TrialFinished) -> bool:
        kind = type(event), event.stage
        due = event.at - self._said.get(kind, -LEAST_PAUSE) >= max(LEAST_PAUSE, PAUSE * event.at)
        if due:
            self._said[kind] = event.at
        return due


def choose(*, as_json: bool) -> Show:
    """Silence for JSON, bars for a terminal, lines otherwise."""
    if as_json:
        return Silent()
    if sys.stderr.isatty():
        live: Show = importlib.import_module("cirrus.cli.live").LiveShow()  # rich is slow to import
        return live
    return Lines()
