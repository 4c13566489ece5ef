"""What an evaluation worker does with a unit: measure the model, as it is now, on every test row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cirrus.actors.blocks import Blocks
from cirrus.actors.jobs import Bench
from cirrus.actors.steps import StepClient
from cirrus.actors.train_job import ROOM, dial
from cirrus.actors.work import TrainWork, kernel_of, read_train_work
from cirrus.actors.worker import resident
from cirrus.core.messages import Back, Beat, Done, Lease
from cirrus.errors import Closed
from cirrus.learn.metrics import Evaluation
from cirrus.store.datasets import DataSet, load


@dataclass(frozen=True, slots=True)
class TestRows:
    """A data set, and its test blocks as this worker keeps them."""

    dataset: DataSet
    blocks: Blocks

    @classmethod
    async def open(cls, bench: Bench, manifest: str) -> Self:
        """Read the manifest, and begin to fetch the first blocks."""
        dataset = await load(bench.store, manifest)
        room = int(ROOM * bench.assignment.memory * 2**20)
        blocks = Blocks(bench.kernel, bench.store, dataset.test, dataset.features, room)
        for number in range(min(2, len(dataset.test))):
            blocks.expect(number)
        return cls(dataset, blocks)


class EvaluateJob:
    """Each unit is one evaluation; its figures are ``loss``, ``auc``, ``accuracy`` and ``rows``."""

    holds = 1

    def __init__(self, bench: Bench, test: TestRows, work: TrainWork, client: StepClient) -> None:
        self._bench = bench
        self._dataset = test.dataset
        self._blocks = test.blocks
        self._client = client
        self._kernel = kernel_of(work.train, test.dataset.features)

    @classmethod
    async def open(cls, bench: Bench, key: str) -> Self:
        """Read what is to be done and connect to the shards."""
        work = await read_train_work(bench.store, key)
        return await cls.beside(bench, await TestRows.open(bench, work.dataset), work)

    @classmethod
    async def beside(cls, bench: Bench, test: TestRows, work: TrainWork) -> Self:
        """Connect to the shards for one model of several that are measured on the same rows."""
        names = [work.table(table.name) for table in kernel_of(work.train, test.dataset.features).tables()]
        return cls(bench, test, work, await StepClient.connect(dial(bench), names))

    def expect(self, lease: Lease) -> None:
        """Every evaluation needs every block; there is nothing to foresee."""

    async def do(self, lease: Lease) -> Done | Back:
        found = Evaluation()
        for number in range(len(self._dataset.test)):
            if self._bench.standing.leaving is not None:
                return Back(lease.unit, lease.lease)
            if number + 1 < len(self._dataset.test):
                self._blocks.expect(number + 1)
            try:
                await self._measure(number, found)
            except Closed:
                await self._client.connect_again()
                await self._measure(number, found)
        figures = {"loss": found.log_loss, "auc": found.auc, "accuracy": found.accuracy, "rows": float(found.rows)}
        return Done(lease.unit, lease.lease, found.rows, figures=figures)

    def beat(self) -> Beat:
        return Beat(resident())

    async def close(self) -> None:
        await self._client.close()

    async def _measure(self, number: int, found: Evaluation) -> None:
        rows = await self._blocks.get(number)
        batch = self._kernel.batch(rows, number)
        # A view of the block's bytes would keep them all until the last block is measured.
        found.add(rows.labels.copy(), self._kernel.scores(batch, await self._client.read(batch.keys)))
