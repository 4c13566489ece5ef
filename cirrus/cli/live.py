"""A run in a terminal: one line a stage that moves, and above it a line for each event that deserves one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from math import isnan

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cirrus.cli.show import Spent
from cirrus.clock import SystemClock
from cirrus.core.tally import Sight, Tally
from cirrus.events import (
    Event,
    LossReported,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    TrialStarted,
    WorkerStarted,
)
from cirrus.pictures import value
from cirrus.sentences import sentence

TIMES_A_SECOND = 8
BAR = 16
MOST_TRIALS = 12
MARGIN = 8
"""Lines of the terminal that trials leave free."""

QUIET = StageProgress | LossReported | WorkerStarted | StageStarted | StageFinished | TrialStarted
"""What the moving lines say already."""


class LiveShow:
    """Bars of the stages with progress, workers, rate and loss, and the run's cost below them."""

    def __init__(self, console: Console | None = None) -> None:
        """Show it on the console of standard error, or on ``console``."""
        self._console = Console(stderr=True) if console is None else console
        self._tally = Tally()
        self._clock = SystemClock()
        self._zero = self._clock.monotonic()

    async def follow(self, events: AsyncIterator[Event], spent: Spent | None) -> None:
        def picture() -> RenderableType:
            if spent is None:
                return Group(*self._stages(), *self._trials())
            cost = spent()
            line = f"${cost.dollars:.4f}, ${cost.dollars_per_second:.6f}/s, {cost.invocations} workers started"
            return Group(*self._stages(), *self._trials(), Text(line, style="dim"))

        with Live(get_renderable=picture, console=self._console, refresh_per_second=TIMES_A_SECOND) as live:
            async for event in events:
                zero = self._clock.monotonic() - event.at
                self._zero = zero if isinstance(event, RunStarted) else min(self._zero, zero)
                self._tally.take(event)
                line = "" if isinstance(event, QUIET) else sentence(event)
                if line:
                    text = Text.assemble((f"{event.at:8.2f}s  ", "dim"), line)
                    live.console.print(text, no_wrap=True, overflow="ellipsis")

    def _stages(self) -> list[Table]:
        """All stages as one table; nothing before the first begins."""
        now = self._clock.monotonic() - self._zero
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, sight in tuple(self._tally.stages.items()):
            table.add_row(*_cells(name, sight, now))
        return [table] if table.row_count else []

    def _trials(self) -> list[RenderableType]:
        """The best trials of the stage that tunes, as a table, while it does; nothing of other stages."""
        going = [name for name, sight in self._tally.stages.items() if sight.seconds is None]
        found = [trial for trial in self._tally.ranked if trial.stage in going]
        if not found:
            return []
        shown = found[: max(1, min(MOST_TRIALS, self._console.height - MARGIN))]
        names = list(dict.fromkeys(name for trial in shown for name in trial.settings))
        table = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("trial", *names, "state", "loss", "samples"):
            table.add_column(Text(name))  # as a text, for rich reads words in brackets as style
        for trial in shown:
            settings = [Text(value(trial.settings.get(name, ""))) for name in names]
            loss = "" if isnan(trial.loss) else f"{trial.loss:.4f}"
            style = "" if trial.state == "running" else "dim"
            table.add_row(str(trial.number), *settings, trial.state, loss, f"{trial.samples:,}", style=style)
        more = len(found) - len(shown)
        return [table, *([Text(f"{more} more trials", style="dim")] if more else [])]


def _cells(name: str, sight: Sight, now: float) -> tuple[RenderableType, ...]:
    seconds = now - sight.began if sight.seconds is None else sight.seconds
    finished = sight.seconds is not None
    bar = ProgressBar(
        total=1.0 if finished else float(sight.total) or None,
        completed=1.0 if finished else float(sight.done),
        width=BAR,
        pulse=not finished and not sight.total,
    )
    of = f"{sight.done}/{sight.total}" if sight.total else f"{sight.done}"
    hands = "done" if finished else sight.hands
    loss = "" if sight.loss is None else f"loss {sight.loss:.4f}"
    clock = str(timedelta(seconds=int(seconds)))
    return name, bar, of, hands, f"{sight.rate:,.0f} rows/s" if sight.rate else "", loss, Text(clock, style="dim")
