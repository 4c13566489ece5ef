"""What a pool of workers hears, says and holds: frozen values in closed unions. ``cirrus.core.pool`` decides over them.

``at`` is the time of an event in seconds on a clock that never goes back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cirrus import checks
from cirrus.core.ids import WorkerId
from cirrus.core.restarts import Backoff

Cause = Literal["finished", "crashed", "killed", "memory", "timeout"]
"""How the provider says that a worker ended."""

Leave = Literal["drained", "idle", "deadline", "failed", "memory", "diverged", "lost"]
"""How the control actor says that a worker ended: told to leave, nothing left to do, its time nearly up, an exception
of its own, a ``MemoryError``, a model that is beyond help, or without a word."""

Refusal = Literal["throttled", "unreachable", "refused"]
"""Why a worker could not be invoked: too fast, the provider did not answer, or it said no for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolPolicy:
    """How patient a pool is. All times are in seconds.

    ``start_deadline``: from the request to the first word. ``drain_deadline``: from the order to leave to the end.
    ``evidence``: how long a lost worker is waited for, for itself or for the provider's word. ``settled``: a worker
    that lived this long is replaced at once. ``idle_pause``: how long a slot rests whose worker found nothing to do.
    ``max_requests``: most requests under way. At most ``restarts``, or ``restarts_per_worker`` times the wish where
    that is more, within ``window``. ``alike``: so many failures with the same text in a row, none more than ``forget``
    after the last, end the pool. ``streak``: so many short-lived workers in a row in one slot end it too. ``phase`` in
    [0, 1): a number of the run's own, so that two runs do not retry in step.
    """

    start_deadline: float = 60.0
    drain_deadline: float = 30.0
    evidence: float = 1.0
    settled: float = 1.0
    idle_pause: float = 5.0
    max_requests: int = 64
    restarts: int = 10
    restarts_per_worker: int = 5
    window: float = 60.0
    alike: int = 3
    forget: float = 600.0
    streak: int = 20
    backoff: Backoff = field(default_factory=lambda: Backoff(0.1, 2.0, 5.0))
    throttle: Backoff = field(default_factory=lambda: Backoff(0.5, 2.0, 30.0))
    phase: float = 0.0

    def __post_init__(self) -> None:
        for name in ("start_deadline", "drain_deadline", "evidence", "idle_pause"):
            checks.positive(f"policy.{name}", getattr(self, name))
        checks.within("policy.settled", self.settled, 0.0, 1e6)
        checks.within("policy.phase", self.phase, 0.0, 0.999999)
        for name in ("alike", "streak"):
            checks.integer(f"policy.{name}", getattr(self, name), 1, 10**6)

    @property
    def patience(self) -> float:
        """When faults stop, a pool is what was wished for, or has given up, within this many seconds."""
        waits = self.start_deadline + self.drain_deadline + self.evidence + self.idle_pause
        return waits + self.backoff.most + self.throttle.most


@dataclass(frozen=True, slots=True)
class Vacant:
    """Nobody: all attempts up to ``attempt`` are fenced (0: there was none); not to be filled before ``not_before``.

    ``asked`` is ``attempt``, or the one after it where that was asked for, seemingly in vain.
    """

    attempt: int
    not_before: float
    asked: int


@dataclass(frozen=True, slots=True)
class Requested:
    """A worker was invoked at ``at`` and has not spoken."""

    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Running:
    """A worker has spoken, first at ``at``."""

    attempt: int
    at: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker's connection went at ``at``; it first spoke at ``since``. It may come back, or be found dead."""

    attempt: int
    at: float
    since: float
    reason: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The worker was told to leave at ``at``."""

    attempt: int
    at: float


Slot = Vacant | Requested | Running | Lost | Draining


@dataclass(frozen=True, slots=True)
class Scaled:
    """The wish is now ``workers``."""

    at: float
    workers: int


@dataclass(frozen=True, slots=True)
class InvokeFailed:
    """A request did not go through, as far as is known: the worker may speak nevertheless."""

    at: float
    worker: WorkerId
    kind: Refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A worker has spoken: for the first time, or after its connection was gone."""

    at: float
    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Left:
    """A worker has left the control actor; ``detail`` is its last words."""

    at: float
    worker: WorkerId
    kind: Leave
    detail: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The provider says that a worker has ended; ``detail`` is the evidence."""

    at: float
    worker: WorkerId
    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The stage is over: everybody is to leave."""

    at: float


Event = Scaled | InvokeFailed | Seen | Left | Exited | Tick | Closed


@dataclass(frozen=True, slots=True)
class Invoke:
    """Start this worker. ``reason``: why its predecessor ended before its work did; empty where there was none."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class Fence:
    """Refuse this attempt and all smaller ones of its slot from now on."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell this worker to hand back what it holds and leave."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the provider to end this worker."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The pool cannot be what is wished for: a sentence with the reason, and a worker's last words."""

    reason: str
    evidence: str


Command = Invoke | Fence | Drain | Stop | GiveUp
