"""The port between a worker and what it does: a job knows units, the worker knows leases, orders and its deadline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from aiohttp import ClientSession

from cirrus.actors.kernel import Kernel
from cirrus.actors.standing import Standing
from cirrus.cloud.base import Assignment
from cirrus.core.messages import Back, Beat, Done, Lease
from cirrus.store.base import ObjectStore
from cirrus.store.counted import Count


@dataclass(frozen=True, slots=True)
class Bench:
    """What a job works with: who it is, tasks of its own, its connections, and its leave to go on.

    ``count`` is told of requests to other stores than ``store``.
    """

    assignment: Assignment
    kernel: Kernel
    session: ClientSession
    store: ObjectStore
    standing: Standing
    count: Count


class Job(Protocol):
    """What a worker of one role does with a unit.

    ``holds`` is the number of leases that it likes to hold at the same time, the one that it works on included.
    """

    @property
    def holds(self) -> int: ...

    def expect(self, lease: Lease) -> None:
        """Begin to fetch what this lease needs: it will be done soon."""
        ...

    async def do(self, lease: Lease) -> Done | Back:
        """Do the unit, or hand it back as far as it got once the worker is to leave."""
        ...

    def beat(self) -> Beat:
        """What was done since the last beat."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
