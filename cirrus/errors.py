"""Every error that cirrus raises, drawn as one tree.

CirrusError
├── PipelineError        you asked for the impossible; nothing was started
├── RunError             the run could not do what it was asked to
│   ├── BudgetExceeded   the budget of the pipeline is used up
│   ├── Killed           somebody killed the run, or the stage
│   ├── StageFailed      a stage gave up; the reason names the cause
│   ├── RunBusy          another driver holds the run
│   ├── InputError       the data are not what the pipeline says they are
│   ├── Diverged         a model has gone astray: a loss or gradient is not finite
│   └── Closed           the actor or connection that was asked has stopped
└── OutsideError         something that cirrus depends on failed
    ├── StoreError       the object store
    │   ├── NotFound     no object of that name
    │   ├── Conflict     a conditional write lost
    │   └── Corrupt      an object's bytes are not what was written
    ├── InvokeError      a worker could not be started
    │   ├── Throttled    the provider asks for a slower rate
    │   └── Unanswered   the provider did not answer: the worker may run or not
    └── WireError        bytes or messages that break the protocol
        ├── Refused      the other side does not accept this token, attempt or epoch
        └── Untrusted    a shard's certificate is not one of the run's own
"""

from __future__ import annotations


class CirrusError(Exception):
    """The root of everything that cirrus raises by itself."""


class PipelineError(CirrusError):
    """A pipeline asks for something impossible; nothing has been started.

    ``field`` is the dotted name of the argument, ``given`` its value as text, ``allowed`` says what would be accepted.
    """

    def __init__(self, field: str, given: object, allowed: str) -> None:
        """Name the field, what was given and what is allowed."""
        self.field = field
        self.given = given
        self.allowed = allowed
        super().__init__(f"{field}: got {given!r}; allowed: {allowed}")


class RunError(CirrusError):
    """A run could not do what it was asked to."""


class BudgetExceeded(RunError):
    """The budget of the pipeline is used up; ``kind`` is ``dollars`` or ``minutes``."""

    def __init__(self, kind: str, spent: float, limit: float) -> None:
        """Say which limit was reached, by how much."""
        self.kind = kind
        self.spent = spent
        self.limit = limit
        super().__init__(f"budget of {limit:g} {kind} reached: {spent:g} spent")


class Killed(RunError):
    """Somebody killed the run or one of its stages."""

    def __init__(self, what: str, reason: str) -> None:
        """Say what was killed and why."""
        self.what = what
        self.reason = reason
        super().__init__(f"{what} was killed: {reason}")


class StageFailed(RunError):
    """A stage gave up; ``reason`` names the cause, ``evidence`` is a worker's last words where there are any."""

    def __init__(self, stage: str, reason: str, evidence: str = "") -> None:
        """Name the stage and the reason, and keep the evidence."""
        self.stage = stage
        self.reason = reason
        self.evidence = evidence
        super().__init__(f"stage {stage!r} failed: {reason}" + (f"\n{evidence}" if evidence else ""))


class RunBusy(RunError):
    """Another driver holds the run: ``holder`` names it, ``seconds`` is how long ago it was last heard of."""

    def __init__(self, run_id: str, holder: str, seconds: float) -> None:
        """Name the run and who holds it."""
        self.run_id = run_id
        self.holder = holder
        self.seconds = seconds
        super().__init__(f"run {run_id!r} is held by {holder}, last heard of {seconds:.0f} s ago")


class InputError(RunError):
    """The data are not what the pipeline says they are.

    ``name`` is the object (a path or key), ``line`` its line from 1 (0: the object as a whole), ``column`` the column's
    name or an empty text, ``problem`` what is wrong and what would be accepted.
    """

    def __init__(self, name: str, problem: str, line: int = 0, column: str = "") -> None:
        """Name the object, and the line and column where they are known."""
        self.name = name
        self.problem = problem
        self.line = line
        self.column = column
        place = name + (f", line {line}" if line else "") + (f", column {column!r}" if column else "")
        super().__init__(f"{place}: {problem}")


class Diverged(RunError):
    """A model has gone astray: a loss or gradient is not finite, and nothing that is learnt from there on counts."""


class Closed(RunError):
    """What was asked has stopped, or stopped before it could answer."""


class OutsideError(CirrusError):
    """Something that cirrus depends on failed; the foreign error is the cause of this one."""


class StoreError(OutsideError):
    """The object store failed at ``key``."""

    def __init__(self, key: str, problem: str) -> None:
        """Name the object and the problem."""
        self.key = key
        self.problem = problem
        super().__init__(f"{key}: {problem}")


class NotFound(StoreError):
    """There is no object of that name."""

    def __init__(self, key: str) -> None:
        """Name the missing object."""
        super().__init__(key, "no such object")


class Conflict(StoreError):
    """A conditional write lost: the object exists already, or is not the one that was expected."""


class Corrupt(StoreError):
    """The object's bytes are not what was written: wrong magic, version, length or checksum."""


class InvokeError(OutsideError):
    """A worker could not be started."""


class Throttled(InvokeError):
    """The provider asks for a slower rate of invocations."""


class Unanswered(InvokeError):
    """The provider did not answer in time: the worker may have been started or not."""


class WireError(OutsideError):
    """Bytes or messages that break the protocol; the connection is closed and nothing of them is applied."""


class Refused(WireError):
    """The other side does not accept this token, attempt or epoch."""


class Untrusted(WireError):
    """The server at the address of ``shard`` shows a certificate that the pinned authority has not signed for it."""

    def __init__(self, shard: str, problem: str) -> None:
        """Name the shard's URL, and what is wrong with the certificate."""
        self.shard = shard
        self.problem = problem
        super().__init__(f"the shard at {shard} is not trusted: {problem}")
