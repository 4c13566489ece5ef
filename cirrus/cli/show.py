"""What a run looks like in a terminal: live bars with rich, or plain lines where the output is piped."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Protocol, assert_never

from cirrus.core.cost import Cost
from cirrus.core.tally import Tally
from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    ResourcesReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    Setting,
    ShardRestarted,
    ShardStarted,
    SnapshotSkipped,
    StageFinished,
    StageProgress,
    StageResumed,
    StageStarted,
    TrialFinished,
    TrialStarted,
    UnitsReopened,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)

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
                rate = f", {sight.rate:,.0f} rows/s, {self._tally.workers(stage)} workers" if sight.rate else ""
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


def sentence(event: Event) -> str:  # noqa: C901, PLR0911, PLR0912  one line for each kind of event
    """Say an event in one line; an empty text where it is not worth a line."""
    match event:
        case RunStarted(run_id=run_id, store=store, epoch=epoch):
            return f"run {run_id} in {store}" + ("" if epoch == 1 else f", taken up again (driver {epoch})")
        case ShardStarted(shard=shard, address=address):
            return f"shard {shard} answers at {address}"
        case ShardRestarted(shard=shard, reason=reason):
            return f"shard {shard} runs again from its newest snapshot: {reason}"
        case SnapshotSkipped(shard=shard, key=key, problem=problem):
            return f"shard {shard} begins with an older snapshot than {key}, which is broken: {problem}"
        case UnitsReopened(stage=stage, units=units, steps=steps):
            return f"{stage}: {steps} steps of {units} units were lost and are done again"
        case StageStarted(stage=stage, workers=workers):
            return f"{stage}: begins with {workers} workers"
        case StageResumed(stage=stage, units=units, rows=rows, steps=steps, again=again):
            there = f"{stage}: goes on at step {steps:,} ({units} units, {rows:,} rows)"
            return f"{there}; {again:,} steps that were done after it are done again"
        case StageProgress(stage=stage, done=done, total=total, rows=rows):
            of = f" of {total}" if total else ""
            return f"{stage}: {done}{of} units, {rows:,} rows"
        case RowsPrepared(stage=stage, skipped=skipped, train=train, test=test, features=features):
            return f"{stage}: {train:,} to train, {test:,} to test, {skipped:,} skipped, {features:,} features"
        case StageFinished(stage=stage, seconds=seconds):
            return f"{stage}: finished in {seconds:.1f} s"
        case WorkersScaled(stage=stage, workers=workers):
            return f"{stage}: {workers} workers wished for"
        case WorkerStarted(stage=stage, slot=slot, attempt=attempt):
            return f"{stage}: worker {slot} is here (attempt {attempt})"
        case WorkerReplaced(stage=stage, slot=slot, attempt=attempt, reason=reason):
            return f"{stage}: worker {slot} is replaced (attempt {attempt}): {reason}"
        case WorkerStopped() | ResourcesReported():
            return ""
        case TrialStarted(stage=stage, trial=trial, settings=settings):
            return f"{stage}: trial {trial} begins: {settled(settings)}"
        case TrialFinished(stage=stage, trial=trial, outcome=outcome, reason=reason, loss=loss):
            return f"{stage}: trial {trial} is {outcome} at log loss {loss:.4f}" + (f": {reason}" if reason else "")
        case InvokeFailed(stage=stage, slot=slot, reason=reason):
            return f"{stage}: worker {slot} could not be started: {reason}"
        case LossReported(stage=stage, loss=loss, auc=auc, accuracy=accuracy, samples=samples, trial=trial):
            whose = stage if trial is None else f"{stage}: trial {trial}"
            return f"{whose}: log loss {loss:.4f}, AUC {auc:.4f}, accuracy {accuracy:.4f} after {samples:,} samples"
        case RunFinished(outcome=outcome, dollars=dollars):  # whoever started the run says why it failed
            return f"run done, {dollars:.4f} dollars" if outcome == "done" else ""
        case _:
            assert_never(event)


def settled(settings: Mapping[str, Setting]) -> str:
    """What a trial sets, in one line."""
    said = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in settings.items()}
    return ", ".join(f"{name}={value}" for name, value in said.items())


def choose(*, as_json: bool) -> Show:
    """Silence for JSON, bars for a terminal, lines otherwise."""
    if as_json:
        return Silent()
    if sys.stderr.isatty():
        live: Show = importlib.import_module("cirrus.cli.live").LiveShow()  # rich is slow to import
        return live
    return Lines()
