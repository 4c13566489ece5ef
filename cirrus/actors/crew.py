"""What the course of a stage works with in the driver: the scheduler's reference, the store, the shards, the bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from cirrus.actors.actor import Ref
from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.actors.mailbox import Mailbox
from cirrus.actors.scheduler import Failed, Heard, SchedulerMessage
from cirrus.actors.shards import ShardCalls
from cirrus.core.cost import Meter
from cirrus.core.messages import Objection
from cirrus.errors import InputError
from cirrus.store.base import ObjectStore

ROOM = 1 << 20
LEASE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Crew:
    """Everything that stages share; ``began`` is the clock's time at the run's start."""

    run_id: str
    began: float
    kernel: Kernel
    store: ObjectStore
    bus: EventBus
    scheduler: Ref[SchedulerMessage]
    shards: ShardCalls
    meter: Meter

    @property
    def at(self) -> float:
        """Seconds since the run began."""
        return self.kernel.clock.monotonic() - self.began

    def dollars(self, stage: str, trial: int | None = None) -> float:
        """What a stage has cost until now, or one of its trials alone."""
        return self.meter.cost(self.kernel.clock.monotonic()).of(stage, trial)

    def key(self, *parts: str) -> str:
        """The key of one of the run's objects."""
        return "/".join(("runs", self.run_id, *parts))


def ear() -> Mailbox[Heard]:
    """Where a stage hears of its pools; it must never be full, for nobody waits to tell it something."""
    return Mailbox(ROOM)


async def heard(mailbox: Mailbox[Heard]) -> AsyncGenerator[Heard, None]:
    """All that is said of the pools, for ever; what ends the stage is raised: ``StageFailed``, ``InputError``."""
    while True:
        message = await mailbox.get()
        match message:
            case Failed(error):
                raise error
            case Objection(_, name, problem, line, column):
                raise InputError(name, problem, line, column)
            case _:
                yield message
