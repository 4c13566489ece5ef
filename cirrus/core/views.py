"""What a run shows of its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cirrus.events import Setting, TrialOutcome


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker as the driver sees it: ``state`` is requested, running, lost or draining, for ``seconds``."""

    stage: str
    slot: int
    attempt: int
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SinkView:
    """A sink of a run: how many events have not reached it and will not any more, and what went wrong last."""

    name: str
    dropped: int
    problem: str


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial that has ended: what it set, why it ended, and what it came to; see ``TrialFinished``.

    ``metrics`` are those of a ``Train`` stage, and empty where the trial was not ``done``.
    """

    stage: str
    number: int
    settings: Mapping[str, Setting]
    outcome: TrialOutcome
    reason: str
    loss: float
    samples: int
    dollars: float
    metrics: Mapping[str, float] = field(default_factory=dict)
