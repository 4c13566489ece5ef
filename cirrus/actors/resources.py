"""What a run uses, told from time to time: money, workers, memory."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable

from cirrus import events
from cirrus.actors.crew import Crew
from cirrus.actors.metrics import resident
from cirrus.actors.scheduler import Scheduler
from cirrus.core.cost import Cost
from cirrus.core.ids import stage_of
from cirrus.errors import OutsideError

PAUSE = 1.0
MB = 2.0**20


async def report(crew: Crew, scheduler: Scheduler, cost: Callable[[], Cost], budget: float | None) -> None:
    """Tell it about once a second, for ever; ``budget`` is the limit of dollars."""
    shards = 0
    while True:
        with contextlib.suppress(OutsideError):  # a shard that is away now is counted the next time
            shards = await crew.shards.resident()
        now = cost()
        wished: Counter[str] = Counter()
        working: Counter[str] = Counter()
        for pool, counts in scheduler.counts.items():
            wished[stage_of(pool)] += counts.wish
            working[stage_of(pool)] += counts.running + counts.draining
        crew.bus.publish(
            events.ResourcesReported(
                at=crew.at,
                dollars=now.dollars,
                dollars_per_second=now.dollars_per_second,
                wished=dict(wished),
                working=dict(working),
                worker_mb=scheduler.memory / MB,
                shard_mb=shards / MB,
                driver_mb=await crew.kernel.blocking(resident) / MB,
                budget=budget,
            )
        )
        await crew.kernel.clock.sleep(PAUSE)
