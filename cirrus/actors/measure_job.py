"""What an evaluation worker does with a unit where there are many models: measure the one that the unit is about."""

from __future__ import annotations

from collections import OrderedDict
from typing import Self

from cirrus.actors.evaluate_job import EvaluateJob, TestRows
from cirrus.actors.jobs import Bench
from cirrus.actors.work import MEASURE_WORK, MeasureWork, read_train_work
from cirrus.actors.worker import resident
from cirrus.core.messages import Back, Beat, Done, Lease

MOST = 16
"""Models to which a worker stays connected: those measured last."""


class MeasureJob:
    """Each unit is one evaluation of one model; the test rows are read once for all of them."""

    holds = 1

    def __init__(self, bench: Bench, work: MeasureWork, test: TestRows) -> None:
        self._bench = bench
        self._work = work
        self._test = test
        self._jobs: OrderedDict[str, EvaluateJob] = OrderedDict()

    @classmethod
    async def open(cls, bench: Bench, key: str) -> Self:
        """Read what is to be done."""
        work = MEASURE_WORK.from_json((await bench.store.get(key)).decode())
        return cls(bench, work, await TestRows.open(bench, work.dataset))

    def expect(self, lease: Lease) -> None:
        """Every evaluation needs every block; there is nothing to foresee."""

    async def do(self, lease: Lease) -> Done | Back:
        key = (await self._bench.store.get(self._work.request(lease.unit))).decode()
        return await (await self._job(key)).do(lease)

    def beat(self) -> Beat:
        return Beat(resident())

    async def close(self) -> None:
        for job in self._jobs.values():
            await job.close()

    async def _job(self, key: str) -> EvaluateJob:
        if key not in self._jobs:
            if len(self._jobs) == MOST:
                _, oldest = self._jobs.popitem(last=False)
                await oldest.close()
            work = await read_train_work(self._bench.store, key)
            self._jobs[key] = await EvaluateJob.beside(self._bench, self._test, work)
        self._jobs.move_to_end(key)
        return self._jobs[key]
