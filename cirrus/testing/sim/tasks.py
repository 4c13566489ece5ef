"""What an invoked worker of a simulation does: the life of a worker, with the job of its pool."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from cirrus.store.memory import MemoryStore
from cirrus.testing.sim.faults import FaultPlan
from cirrus.testing.sim.network import Network
from cirrus.testing.sim.provider import Call
from cirrus.testing.sim.spec import BASE, TRAIN, Spec
from cirrus.testing.sim.storage import SimStore, Watcher
from cirrus.testing.sim.workers import Job, Lesson, PrepareJob, Standing, Tools, TrainJob, Worker
from cirrus.testing.sim.world import Process


def body(
    network: Network, objects: MemoryStore, plan: FaultPlan, watcher: Watcher, spec: Spec
) -> Callable[[Process, Call], Coroutine[Any, Any, None]]:
    """What each worker of a run does from its start to its end."""
    lesson = Lesson(spec.piece, BASE, spec.depth, spec.pace)

    def make(tools: Tools, work: str) -> Job:
        if work == TRAIN:
            return TrainJob(tools, lesson)
        return PrepareJob(tools, work, spec.rows)

    async def live(process: Process, call: Call) -> None:
        striking = process.world.now < plan.until and process.world.chance.hits(plan.stubborn)
        standing = Standing(process, call.timeout, stubborn=striking)
        store = SimStore(process, objects, plan, watcher)
        await Worker(Tools(process, network, store, standing, call.addresses), make).live(call)

    return live
