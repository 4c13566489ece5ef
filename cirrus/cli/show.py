"""What a run looks like in a terminal: live bars with rich, or plain lines where the output is piped."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, assert_never

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    ShardStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    WorkerReplaced,
    WorkersScaled,
    WorkerStarted,
    WorkerStopped,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Show(Protocol):
    """Follows a run's events to their end."""

    async def follow(self, events: AsyncIterator[Event]) -> None:
        """Show each event until there are no more."""
        ...


class Silent:
    """Shows nothing: the caller prints one JSON object at the end."""

    async def follow(self, events: AsyncIterator[Event]) -> None:
        async for _ in events:
            pass


class Lines:
    """One plain line an event, on standard error."""

    async def follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            line = sentence(event)
            if line:
                print(f"{event.at:8.2f}s  {line}", file=sys.stderr, flush=True)


class Live:
    """A bar a stage with its workers and its newest loss, and a line for each event that deserves one."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars: dict[str, TaskID] = {}
        self._workers: dict[str, int] = {}
        self._loss: dict[str, str] = {}

    async def follow(self, events: AsyncIterator[Event]) -> None:
        columns = (
            SpinnerColumn(), TextColumn("{task.description:>10}"), BarColumn(bar_width=28),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, refresh_per_second=8) as progress:
            async for event in events:
                self._move(progress, event)
                line = "" if isinstance(event, StageProgress | LossReported | WorkerStarted) else sentence(event)
                if line:
                    progress.console.print(f"[dim]{event.at:8.2f}s[/dim]  {line}", markup=True, highlight=False)

    def _move(self, progress: Progress, event: Event) -> None:
        match event:
            case StageStarted(stage=stage):
                self._bars[stage] = progress.add_task(stage, total=None, note="")
            case StageProgress(stage=stage, done=done, total=total) if stage in self._bars:
                progress.update(self._bars[stage], completed=done, total=total or None)
            case WorkerStarted(stage=stage):
                self._workers[stage] = self._workers.get(stage, 0) + 1
            case WorkerStopped(stage=stage) | WorkerReplaced(stage=stage):
                self._workers[stage] = self._workers.get(stage, 0) - 1
            case LossReported(stage=stage, loss=loss, auc=auc):
                self._loss[stage] = f"log loss {loss:.4f}  AUC {auc:.4f}"
            case _:
                return
        if stage in self._bars:
            note = f"{self._workers.get(stage, 0)} workers  {self._loss.get(stage, '')}"
            progress.update(self._bars[stage], note=note)


def sentence(event: Event) -> str:  # noqa: C901, PLR0911, PLR0912  one line for each kind of event
    """Say an event in one line; an empty text where it is not worth a line."""
    match event:
        case RunStarted(run_id=run_id, store=store):
            return f"run {run_id} in {store}"
        case ShardStarted(shard=shard, address=address):
            return f"shard {shard} answers at {address}"
        case StageStarted(stage=stage, workers=workers):
            return f"{stage}: begins with {workers} workers"
        case StageProgress(stage=stage, done=done, total=total, rows=rows):
            of = f" of {total}" if total else ""
            return f"{stage}: {done}{of} units, {rows} rows"
        case RowsPrepared(stage=stage, rows_in=rows, skipped=skipped, train=train, test=test, features=features):
            return f"{stage}: {rows} rows in, {train} to train, {test} to test, {skipped} skipped, {features} features"
        case StageFinished(stage=stage, seconds=seconds):
            return f"{stage}: finished in {seconds:.1f} s"
        case WorkersScaled(stage=stage, workers=workers):
            return f"{stage}: {workers} workers wished for"
        case WorkerStarted(stage=stage, slot=slot, attempt=attempt):
            return f"{stage}: worker {slot} is here (attempt {attempt})"
        case WorkerReplaced(stage=stage, slot=slot, attempt=attempt, reason=reason):
            return f"{stage}: worker {slot} is replaced (attempt {attempt}): {reason}"
        case WorkerStopped():
            return ""
        case InvokeFailed(stage=stage, slot=slot, reason=reason):
            return f"{stage}: worker {slot} could not be started: {reason}"
        case LossReported(stage=stage, loss=loss, auc=auc, accuracy=accuracy, samples=samples):
            return f"{stage}: log loss {loss:.4f}, AUC {auc:.4f}, accuracy {accuracy:.4f} after {samples} samples"
        case RunFinished(outcome=outcome, reason=reason, dollars=dollars):
            return f"run {outcome}{': ' + reason if reason else ''}, {dollars:.4f} dollars"
        case _:
            assert_never(event)


def choose(*, as_json: bool) -> Show:
    """Silence for JSON, bars for a terminal, lines otherwise."""
    if as_json:
        return Silent()
    return Live() if sys.stderr.isatty() else Lines()
