"""Names of things in a run, and the fences that tell a living worker from a dead one's ghost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

RunId = NewType("RunId", str)

EVALUATOR = ".eval"
"""What a training stage's name is followed by in the name of the pool that evaluates its model."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A slot in a pool: what a worker fills. ``pool`` is a stage's name, or that name followed by ``.eval``."""

    pool: str
    slot: int


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """The worker that is the ``attempt``-th to fill a slot; a smaller attempt is a ghost wherever a larger is known."""

    pool: str
    slot: int
    attempt: int

    @property
    def place(self) -> Place:
        """The slot alone."""
        return Place(self.pool, self.slot)


def stage_of(pool: str) -> str:
    """The stage that a pool works for."""
    return pool.removesuffix(EVALUATOR)
