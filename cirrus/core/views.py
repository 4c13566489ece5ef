"""What a run shows of its workers."""

from __future__ import annotations

from dataclasses import dataclass


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
