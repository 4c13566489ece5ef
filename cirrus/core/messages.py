"""What workers, the control actor and the driver say to each other: three closed unions of frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cirrus import checks
from cirrus.core.ids import WorkerId
from cirrus.core.slots import Leave

MOST_HELD = 1_000
"""Leases that a worker may hold."""


@dataclass(frozen=True, slots=True)
class Hello:
    """A worker's first words; who it is stands in its token."""

    pid: int


@dataclass(frozen=True, slots=True)
class Ask:
    """The worker would like to hold ``count`` leases."""

    count: int

    def __post_init__(self) -> None:
        checks.integer("ask.count", self.count, 0, MOST_HELD)


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker lives. ``samples`` and ``loss`` (their sum) are what it learnt from since its last beat."""

    memory: int
    samples: int = 0
    steps: int = 0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """A unit is finished: rows that went through, the key of what was written, and figures such as a test loss.

    The worker would like to hold as many leases as it asked for last. ``beat``: what it did since its last beat.
    """

    unit: int
    lease: int
    rows: int
    output: str = ""
    figures: dict[str, float] = field(default_factory=dict)
    beat: Beat | None = None


@dataclass(frozen=True, slots=True)
class Back:
    """A unit that is not finished is handed back; somebody else goes on with it."""

    unit: int
    lease: int


@dataclass(frozen=True, slots=True)
class Bye:
    """The worker leaves, and why; ``detail`` holds the traceback where it failed.

    ``seconds``: what its provider has counted of it until now, if it knows. ``gets``, ``puts``: its requests to the
    store that read, and those that write or list.
    """

    kind: Leave
    detail: str = ""
    seconds: float | None = None
    gets: int = 0
    puts: int = 0

    def __post_init__(self) -> None:
        for name in ("gets", "puts"):
            checks.integer(f"bye.{name}", getattr(self, name), 0, 10**12)


@dataclass(frozen=True, slots=True)
class Objected:
    """The input is not what the pipeline says it is: trying again would not help."""

    name: str
    problem: str
    line: int
    column: str


FromWorker = Hello | Ask | Beat | Done | Back | Bye | Objected


@dataclass(frozen=True, slots=True)
class Welcome:
    """The worker fills its slot; ``work`` is the key of the object that describes what to do."""

    work: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The worker may do this unit; ``lease`` goes with everything that it writes for it."""

    unit: int
    lease: int


@dataclass(frozen=True, slots=True)
class Order:
    """The worker is to hand back its units and leave (``drain``), or just to leave, for it is fenced (``leave``)."""

    kind: Literal["drain", "leave"]
    reason: str


ToWorker = Welcome | Lease | Order


@dataclass(frozen=True, slots=True)
class OpenPool:
    """Workers of this pool may lease units up to ``total`` (``None``: no end yet) to do what ``work`` describes.

    No unit is granted that is ``staleness`` or more beyond the smallest unfinished one. A worker that is not heard of
    for ``timeout`` seconds loses its leases. Where a control actor before this one had the pool, ``first`` is above the
    number of every lease that it granted, and the units below ``floor`` are finished.
    """

    pool: str
    work: str
    total: int | None
    staleness: int
    timeout: float
    first: int = 1
    floor: int = 0

    def __post_init__(self) -> None:
        checks.integer("pool.staleness", self.staleness, 1, 10**9)
        checks.positive("pool.timeout", self.timeout)
        for name in ("first", "floor"):
            checks.integer(f"pool.{name}", getattr(self, name), 0, 2**63)


@dataclass(frozen=True, slots=True)
class Limit:
    """No unit of ``total`` or above is granted in this pool; what is open below is still finished."""

    pool: str
    total: int


@dataclass(frozen=True, slots=True)
class Allow:
    """Units below ``below`` may be granted now; a pool without this message knows no such limit."""

    pool: str
    below: int


@dataclass(frozen=True, slots=True)
class Reopen:
    """Finished units whose effect was lost are to be done again."""

    pool: str
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Expect:
    """From now on this attempt, and no other, may fill its slot."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Fence:
    """Refuse this attempt and all before it: whoever speaks for them is sent away."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Tell this worker to hand back its units and leave."""

    worker: WorkerId
    reason: str


@dataclass(frozen=True, slots=True)
class ClosePool:
    """Nothing more is done in this pool: its workers are told to leave."""

    pool: str


@dataclass(frozen=True, slots=True)
class Took:
    """The speaker has taken in so many messages of the other side, other than these, since the control actor began.

    It is the driver's first word on each connection, behind which it says again what was not taken in before; whatever
    it says earlier is not listened to.
    """

    count: int


ForDesk = OpenPool | Limit | Allow | Reopen | Expect | Fence | Drain | ClosePool
FromDriver = Took | ForDesk


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker has filled its slot."""

    worker: WorkerId
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerLeft:
    """A worker said why it leaves, or its connection is gone (``lost``); the figures are those of its goodbye.

    One that was told to leave may say ``lost`` as well; it then tells its ``seconds``.
    """

    worker: WorkerId
    kind: Leave
    detail: str
    seconds: float | None = None
    gets: int = field(default=0, compare=False)
    puts: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class UnitDone:
    """A unit was finished under its newest lease, once."""

    pool: str
    unit: int
    lease: int
    rows: int
    output: str
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class PoolDone:
    """All units of the pool are finished."""

    pool: str


@dataclass(frozen=True, slots=True)
class Pulse:
    """What the workers of a pool did since the last pulse; ``memory`` is the largest one's resident size in bytes."""

    pool: str
    samples: int
    steps: int
    loss: float
    memory: int


@dataclass(frozen=True, slots=True)
class Objection:
    """A worker found that the input is not what the pipeline says it is."""

    pool: str
    name: str
    problem: str
    line: int
    column: str


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first words of a control actor on each connection; another ``name`` is another actor, which knows nothing.

    ``took`` is the number of the driver's messages that it has taken in. Its own follow when the driver has answered.
    """

    name: str
    took: int = 0


@dataclass(frozen=True, slots=True)
class TurnedAway:
    """A second delivery of a worker that is here already was told to leave."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A worker that nobody expects, or expects any more, was told to leave when it said hello."""

    worker: WorkerId


ToDriver = Greeting | Took | WorkerSeen | WorkerLeft | TurnedAway | Dismissed | UnitDone | PoolDone | Pulse | Objection


def pool_of(words: ToDriver) -> str:
    """The pool that the message is about; empty where it is about none."""
    match words:
        case Greeting() | Took():
            return ""
        case WorkerSeen(worker) | WorkerLeft(worker) | TurnedAway(worker) | Dismissed(worker):
            return worker.pool
        case _:
            return words.pool
