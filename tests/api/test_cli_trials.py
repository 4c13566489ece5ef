"""Trials on the command line: a table that moves in a terminal, few lines elsewhere."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Sequence

import pytest
from rich.console import Console

from cirrus.cli.live import MOST_TRIALS, LiveShow
from cirrus.cli.show import Lines
from cirrus.core.tally import Tally
from cirrus.events import Event, StageStarted, TrialFinished, TrialStarted, WorkerStarted, WorkerStopped
from tests.sinks.told import OUTCOMES, RUN, loss, tuned

TUNED = tuned()


async def said(events: Sequence[Event]) -> AsyncIterator[Event]:
    for event in events:
        yield event


def many(count: int) -> list[Event]:
    """A stage that tunes and goes on, with so many trials, each better than the one before; the first is over."""
    found: list[Event] = [StageStarted(at=0.0, stage="tune", workers=4)]
    for trial in range(count):
        found.append(TrialStarted(at=0.0, stage="tune", trial=trial, settings={"[red]rate": 0.5, "kind": "[bold]x"}))
        found.append(loss(1.0, trial, 100, 0.9 - trial / 1000))
    return [*found, ended(0)]


def ended(trial: int, at: float = 2.0, value: float = 0.95) -> TrialFinished:
    return TrialFinished(
        at=at, stage="tune", trial=trial, outcome="pruned", reason="too slow", loss=value, samples=100, dollars=0.0
    )


async def test_lines_say_the_best_the_killed_and_few_others(capsys: pytest.CaptureFixture[str]) -> None:
    await Lines().follow(said(TUNED), None)
    shown = capsys.readouterr().err
    lines = [line.partition("s  ")[2] for line in shown.splitlines()]
    assert lines[0].startswith(f"run {RUN}")
    settings = "optimizer.rate=0.1, model.l2=0, kind=<img onerror=x> 0, fast=True"
    assert f"tune: trial 0 is done at log loss 0.4000: because ({settings})" in lines
    assert [line for line in lines if line.startswith("tune: trial 2 is killed at log loss 0.4200")]
    assert f"tune: finished in 6.0 s; the best is trial 0 at log loss 0.4000: {settings}" in lines
    assert not re.search("begins:|trial 1:", shown)


async def test_a_trial_that_is_the_best_so_far_always_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    bests: list[Event] = [ended(trial, value=0.8 - trial / 100) for trial in (3, 7, 5)]
    await Lines().follow(said([*many(9), *bests]), None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "the best so far" in line]
    assert [re.findall(r"trial (\d)", line) for line in lines] == [["3"], ["7"]]


async def test_lines_of_many_trials_stay_few(capsys: pytest.CaptureFixture[str]) -> None:
    ends: list[Event] = [ended(trial, at=2.0 + trial / 100) for trial in range(1000)]
    await Lines().follow(said([*many(1000), *ends]), None)
    assert 3 < len(capsys.readouterr().err.splitlines()) < 20


async def test_a_terminal_shows_the_best_trials_as_a_table() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=40, color_system=None)
    await LiveShow(console).follow(said(many(20)), None)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    last = text[text.rindex("\ntrial ") :].splitlines()
    rows = [line.split() for line in last if re.match(r"\d+ .* \d+ *$", line)]
    assert [row[0] for row in rows] == [str(trial) for trial in range(19, 19 - MOST_TRIALS, -1)]
    assert rows[0] == ["19", "0.5", "[bold]x", "running", "0.8810", "100"]
    assert "[red]rate" in text
    assert f"{20 - MOST_TRIALS} more trials" in text


async def test_no_table_of_trials_where_the_stage_is_over() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, height=40, color_system=None)
    await LiveShow(console).follow(said([TUNED[0], *TUNED[-8:]]), None)
    assert "optimizer.rate" not in screen.getvalue()


def test_a_tally_knows_each_trial_and_counts_their_workers_with_the_stage() -> None:
    tally = Tally()
    for event in TUNED[:-9]:
        tally.take(event)
    assert [trial.state for trial in tally.trials.values()] == list(OUTCOMES)
    assert [trial.number for trial in tally.ranked] == [0, 1, 2, 3], "what diverged comes last"
    assert (best := tally.best("tune")) is not None
    assert (best.number, best.samples) == (0, 4000)
    for pool in ("tune.trial0", "tune.trial3", "tune.eval"):
        tally.take(WorkerStarted(at=7.0, stage=pool, slot=0, attempt=1, pid=1))
    assert tally.workers("tune") == 2
    tally.take(WorkerStopped(at=8.0, stage="tune.trial0", slot=0, attempt=1, reason="done"))
    assert tally.workers("tune") == 1
