"""The trials of a stage that tunes: its place in the run, what steers it, who goes on, and what they came to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from cirrus.actors.mailbox import Mailbox
from cirrus.actors.records import TrialPast
from cirrus.actors.scheduler import Abandon, Heard
from cirrus.actors.training import Learnt
from cirrus.core.views import Trial
from cirrus.errors import PipelineError
from cirrus.pipeline import Tune
from cirrus.proposals import from_plain, said
from cirrus.search import Settings
from cirrus.store.datasets import DataSet
from cirrus.store.fields import JSON

TRIALS = 1 << 20
"""Lines of units that a stage which tunes may have; those of stages that only train are below the first."""

Decide = Callable[[str, Mapping[str, JSON]], Awaitable[object]]


class Trials:
    """Those of one stage at a time. ``settled``: how trials are to end of which that is written down already."""

    def __init__(self) -> None:
        self.stage = ""
        self.settled: dict[int, Abandon] = {}
        self._mailboxes: dict[int, Mailbox[Heard]] = {}

    @property
    def living(self) -> tuple[int, ...]:
        """The numbers of those that go on, and that nobody has ordered to end."""
        return tuple(number for number in sorted(self._mailboxes) if number not in self.settled)

    def is_killed(self, number: int) -> bool:
        """Whether somebody has ordered that trial to end; ``PipelineError`` where it has ended otherwise."""
        if number in self.settled and self.settled[number].outcome == "killed":
            return True
        if number not in self.living:
            living = ", ".join(map(str, self.living))
            raise PipelineError("trial", number, f"one that goes on: {living or 'none does'}")
        return False

    def enter(self, stage: str) -> None:
        """A stage begins: whatever is known is of another."""
        self.stage = stage
        self.settled.clear()
        self._mailboxes.clear()

    def began(self, number: int, mailbox: Mailbox[Heard]) -> None:
        """A trial goes on, and hears in that mailbox."""
        self._mailboxes[number] = mailbox

    def over(self, number: int) -> None:
        """A trial has ended."""
        self._mailboxes.pop(number, None)

    def end(self, number: int, how: Abandon) -> None:
        """It is written down that a trial ends so: tell it. What was written down first holds."""
        how = self.settled.setdefault(number, how)
        mailbox = self._mailboxes.get(number)
        if mailbox is not None:
            mailbox.put_nowait(how)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a stage that tunes has come to: its trials, and the settings of the best, whose model is in snapshots."""

    trials: tuple[Trial, ...]
    settings: Settings
    learnt: Learnt
    line: int


@dataclass(frozen=True, slots=True)
class TuneJob:
    """A stage's place in its run; ``past``: what earlier drivers have decided of its trials."""

    stage: Tune
    number: int
    manifest: str
    dataset: DataSet
    past: Mapping[int, TrialPast]

    def line(self, trial: int) -> int:
        """That of a trial's units in the shards' ledgers."""
        return self.number * TRIALS + trial


@dataclass(frozen=True, slots=True)
class Wheel:
    """What steers the stage from outside: wishes for workers, decisions made durable, orders to end trials."""

    wishes: Mapping[str, int]
    decide: Decide
    trials: Trials


def ended(stage: str, number: int, past: TrialPast) -> Trial:
    """What an earlier driver has written down of a trial that has ended."""
    assert past.outcome, "it has ended"
    return Trial(
        stage, number, said(from_plain(past.settings)), past.outcome, past.reason, past.loss, past.samples,
        past.dollars, past.metrics,
    )  # fmt: skip
