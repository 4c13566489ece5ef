"""What a run says while it goes on: a closed union of frozen values.

Every event carries ``at``, seconds since the run began. ``stage`` is the stage's name. A ``slot`` is a place in a
stage's pool of workers and ``attempt`` counts the workers that have filled it. Where it is a worker that the event is
about, the stage's name is followed by ``.eval`` for one that evaluates, and by ``.trial3`` for one of trial 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Setting = float | int | str | bool
"""What a trial sets a field to, as it is told and written down."""

TrialOutcome = Literal["done", "pruned", "killed", "diverged"]
"""How a trial ended: by its condition, for others were better, by order, or its loss was no number any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The run exists: its id, and where its objects are kept; ``epoch`` counts the drivers that have had it."""

    at: float
    run_id: str
    store: str
    epoch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStarted:
    """A parameter-server shard answers at ``address``."""

    at: float
    shard: int
    address: str
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRestarted:
    """A shard's process ended, for ``reason``, and runs again from its newest snapshot."""

    at: float
    shard: int
    pid: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotSkipped:
    """A shard's snapshot ``key`` cannot be read, for ``problem``; the shard began with the one before it."""

    at: float
    shard: int
    key: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitsReopened:
    """The steps of ``units`` finished units were lost with a shard, ``steps`` of them, and are done again."""

    at: float
    stage: str
    units: int
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStarted:
    """A stage begins with a wish for ``workers`` workers."""

    at: float
    stage: str
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResumed:
    """A stage goes on where an earlier driver's shards stood: ``units`` were finished, with ``rows`` learnt from.

    ``steps`` is how many steps the shards begin with, those of unfinished units included. ``again``: so many more had
    the earlier driver seen done when it last wrote its progress down; they are lost with the shards, and done again.
    """

    at: float
    stage: str
    units: int
    rows: int
    steps: int
    again: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """``done`` of ``total`` units are finished (``total`` 0: not bounded); ``rows`` went through so far.

    ``steps`` is how many steps of training workers have done, of the units that are not finished as well.
    """

    at: float
    stage: str
    done: int
    total: int
    rows: int
    steps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsPrepared:
    """Preparation is committed: rows read, rows skipped as malformed, rows set aside for training and for testing."""

    at: float
    stage: str
    rows_in: int
    skipped: int
    train: int
    test: int
    features: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFinished:
    """A stage is complete."""

    at: float
    stage: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersScaled:
    """Somebody wishes for another number of workers."""

    at: float
    stage: str
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStarted:
    """A worker has spoken for the first time."""

    at: float
    stage: str
    slot: int
    attempt: int
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReplaced:
    """A worker ended before its work did; ``attempt`` is its successor's number, ``reason`` why it ended."""

    at: float
    stage: str
    slot: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopped:
    """A worker has left because it was told to, or because there was nothing left to do."""

    at: float
    stage: str
    slot: int
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InvokeFailed:
    """A worker could not be started; it will be tried again. ``throttled``: the provider asks for a slower rate."""

    at: float
    stage: str
    slot: int
    attempt: int
    reason: str
    throttled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossReported:
    """The model was evaluated on the test rows after learning from ``samples`` rows in ``seconds`` of the stage.

    ``train_loss`` is the mean log loss of the newest minibatches before each was learnt from. ``final`` marks the
    evaluation of the finished model on every test row. ``trial`` is the number of the trial that it is about, where
    the stage tunes. ``dollars`` is what the stage, or the trial alone, had cost by then.
    """

    at: float
    stage: str
    loss: float
    auc: float
    accuracy: float
    train_loss: float
    samples: int
    seconds: float
    final: bool = False
    trial: int | None = None
    dollars: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialStarted:
    """A trial of a stage that tunes begins, or goes on under another driver; ``settings`` is what it changes."""

    at: float
    stage: str
    trial: int
    settings: Mapping[str, Setting]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialFinished:
    """A trial is over: ``outcome`` is why, ``reason`` says more.

    ``loss`` is the newest on the test rows, NaN where there is none or the model has gone astray, after ``samples``
    rows; ``dollars`` is what the trial has cost. A trial that is ``killed`` or ``pruned`` does not come back.
    """

    at: float
    stage: str
    trial: int
    outcome: TrialOutcome
    reason: str
    loss: float
    samples: int
    dollars: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesReported:
    """What the run uses now, about once a second.

    ``wished`` and ``working`` are numbers of workers by stage, evaluators and trials' workers with their stage.
    ``worker_mb`` is the largest worker's memory, ``shard_mb`` that of all shards together and ``driver_mb`` that of
    this process, in MB. ``budget`` is the limit of dollars, if there is one.
    """

    at: float
    dollars: float
    dollars_per_second: float
    wished: Mapping[str, int] = field(default_factory=dict)
    working: Mapping[str, int] = field(default_factory=dict)
    worker_mb: float = 0.0
    shard_mb: float = 0.0
    driver_mb: float = 0.0
    budget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """The run is over; ``outcome`` is ``done``, ``failed``, ``killed`` or ``parked``."""

    at: float
    outcome: str
    reason: str
    dollars: float


Event = (
    RunStarted
    | ShardStarted
    | ShardRestarted
    | SnapshotSkipped
    | UnitsReopened
    | StageStarted
    | StageResumed
    | StageProgress
    | RowsPrepared
    | StageFinished
    | WorkersScaled
    | WorkerStarted
    | WorkerReplaced
    | WorkerStopped
    | InvokeFailed
    | LossReported
    | TrialStarted
    | TrialFinished
    | ResourcesReported
    | RunFinished
)
