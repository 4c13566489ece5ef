"""Where a stage has its model measured on the test rows: a pool of workers that do nothing else."""

from __future__ import annotations

from typing import Protocol

from cirrus.actors.crew import LEASE_SECONDS, Crew
from cirrus.actors.scheduler import Close, Listener, Open, Steer
from cirrus.cloud.base import Role
from cirrus.core.ids import EVALUATOR
from cirrus.core.messages import Allow, OpenPool
from cirrus.pipeline import Train

AHEAD = 64
"""Evaluations that may be under way at a time."""


class Examiner(Protocol):
    """Whom to ask for an evaluation; each is answered by a ``UnitDone`` of ``pool`` with the figures."""

    @property
    def pool(self) -> str: ...

    async def ask(self) -> None:
        """Have the model measured as it is from now on."""
        ...


class Evaluator:
    """The pool of workers that measure for a stage: ``work`` is the key of what they are to do."""

    def __init__(self, crew: Crew, stage: Train, name: str, work: str, role: Role = "evaluate") -> None:
        self.pool = name + EVALUATOR
        self._crew = crew
        self._stage = stage
        self._name = name
        self._work = work
        self._role = role
        self._asked = 0

    async def open(self, listener: Listener, workers: int = 1) -> None:
        """Begin the pool; what is heard of it goes to ``listener``."""
        stage = self._stage
        pool = OpenPool(self.pool, self._work, None, AHEAD, LEASE_SECONDS)
        await self._crew.scheduler.ask(
            Open(pool, self._name, self._role, workers, stage.memory, stage.timeout, listener)
        )
        await self._crew.scheduler.ask(Steer(Allow(self.pool, 0)))

    async def ask(self) -> None:
        """Grant one more evaluation: the units are numbered from 0 in the order of the asking."""
        self._asked += 1
        await self._crew.scheduler.ask(Steer(Allow(self.pool, self._asked)))

    async def close(self) -> None:
        """End the pool."""
        await self._crew.scheduler.ask(Close(self.pool))
