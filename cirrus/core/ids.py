"""Names of things in a run, and the fences that tell a living worker from a dead one's ghost."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

RunId = NewType("RunId", str)

EVALUATOR = ".eval"
"""What a training stage's name is followed by in the name of the pool that evaluates its model."""

POOL = re.compile(r"(?P<stage>.*?)(?:\.trial(?P<trial>[0-9]{1,9})|\.eval)?")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A slot in a pool: what a worker fills. ``pool``: a stage's name, or that followed by ``.eval`` or ``.trial3``."""

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


def trial_pool(stage: str, trial: int) -> str:
    """The name of the pool that works for one trial of a stage."""
    return f"{stage}.trial{trial}"


def stage_of(pool: str) -> str:
    """The stage that a pool works for."""
    found = POOL.fullmatch(pool)
    return pool if found is None else found["stage"]


def trial_of(pool: str) -> int | None:
    """The trial that a pool works for; ``None`` where it works for a stage as a whole."""
    found = POOL.fullmatch(pool)
    return None if found is None or found["trial"] is None else int(found["trial"])
