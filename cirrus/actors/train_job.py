"""What a training worker does with a unit: pull rows, compute the gradient, push it, several steps in flight."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Self

import numpy as np
from numpy.random import default_rng

from cirrus.actors.blocks import Blocks
from cirrus.actors.jobs import Bench
from cirrus.actors.link import Dial
from cirrus.actors.steps import StepClient
from cirrus.actors.work import TrainWork, kernel_of, read_train_work
from cirrus.actors.worker import resident
from cirrus.core.messages import Back, Beat, Done, Lease
from cirrus.errors import Closed, Diverged, Refused, RunError
from cirrus.learn.base import Batch, Gradient, Kernel
from cirrus.learn.rows import Rows
from cirrus.learn.schedule import block_order, row_order, steps_in
from cirrus.store.datasets import DataSet, load

ROOM = 0.3  # of the worker's memory, for blocks
TRIES = 5


def dial(bench: Bench) -> Dial:
    """How this worker reaches the shards; its chance depends on who it is, so that workers do not move in step."""
    given = bench.assignment
    return Dial(
        given.shards, given.token, bench.session, bench.kernel.clock,
        default_rng((given.worker.slot, given.worker.attempt)),
        leaving=lambda: bench.standing.leaving is not None,
    )  # fmt: skip


class TrainJob:
    """Learns from units of one stage; while it learns from one, it fetches the next one's block (``holds`` is 2)."""

    holds = 2

    def __init__(self, bench: Bench, work: TrainWork, dataset: DataSet, client: StepClient) -> None:
        self._bench = bench
        self._work = work
        self._dataset = dataset
        self._client = client
        self._kernel: Kernel = kernel_of(work.train, dataset.features)
        room = int(ROOM * bench.assignment.memory * 2**20)
        self._blocks = Blocks(bench.kernel, bench.store, dataset.train, dataset.features, room)
        steps = [steps_in(block.rows, work.train.minibatch) for block in dataset.train]
        self._first_numbers = [0, *accumulate(steps)]
        self._orders: dict[int, Sequence[int]] = {}
        self._samples = 0
        self._steps = 0
        self._loss = 0.0
        self._first = -1  # where the shards said last that the unit stands

    @classmethod
    async def open(cls, bench: Bench, key: str) -> Self:
        """Read what is to be done and connect to the shards."""
        work = await read_train_work(bench.store, key)
        dataset = await load(bench.store, work.dataset)
        kernel = kernel_of(work.train, dataset.features)
        names = [work.table(table.name) for table in kernel.tables()]
        # Half of the steps in flight go out as one message, while the answers to the other half come in.
        group = max(1, work.train.depth // 2)
        return cls(bench, work, dataset, await StepClient.connect(dial(bench), names, group))

    def expect(self, lease: Lease) -> None:
        self._blocks.expect(self._block(lease.unit))

    async def do(self, lease: Lease) -> Done | Back:
        number = self._block(lease.unit)
        rows = await self._blocks.get(number)
        order = row_order(self._work.train.seed, lease.unit, len(rows))
        rows = rows.take(order)
        first, tries = -1, 0
        while self._bench.standing.leaving is None:
            try:
                if await self._learn(lease, rows, self._first_numbers[number]):
                    return Done(lease.unit, lease.lease, len(rows))
            except Refused:
                break  # a newer lease works on this unit
            except Closed as error:
                # The next opening of the unit connects again and says where to go on. A shard that hangs up on the
                # same step again and again refuses what is pushed: that is for the driver to hear of.
                tries = tries + 1 if self._first == first else 1
                first = self._first
                if tries == TRIES:
                    raise RunError(f"unit {lease.unit} is refused {TRIES} times in a row: {error}") from error
        return Back(lease.unit, lease.lease)

    def beat(self) -> Beat:
        beat = Beat(resident(), self._samples, self._steps, self._loss)
        self._samples, self._steps, self._loss = 0, 0, 0.0
        return beat

    async def close(self) -> None:
        await self._client.close()

    async def _learn(self, lease: Lease, rows: Rows, first_number: int) -> bool:
        """Do all steps of the unit that some shard lacks; False: the worker is to leave before the last."""
        client, train = self._client, self._work.train
        count = steps_in(len(rows), train.minibatch)
        first = self._first = await client.open(self._work.base + lease.unit, lease.lease)
        batches = self._kernel.batches(rows, train.minibatch, first, first_number)
        ahead: deque[Batch] = deque()
        for batch in islice(batches, train.depth):
            ahead.append(batch)
            await client.pull(client.ask(batch.keys))
        later = next(batches, None)
        for step in range(first, count):
            if self._bench.standing.leaving is not None:
                await client.flush()
                return False
            batch = ahead.popleft()
            gradient = self._kernel.gradient(batch, await client.rows())
            _check(batch, gradient)
            self._samples += len(batch.rows)
            self._steps += 1
            self._loss += gradient.loss
            if later is None:
                await client.push(step, gradient.tables)
            else:
                ahead.append(later)
                await client.push_pull(step, gradient.tables, client.ask(later.keys))
                later = next(batches, None)  # made while what was sent is under way
        await client.flush()
        return True

    def _block(self, unit: int) -> int:
        blocks = len(self._dataset.train)
        epoch, position = divmod(unit, blocks)
        if epoch not in self._orders:
            self._orders[epoch] = block_order(self._work.train.seed, epoch, blocks).tolist()
            self._orders.pop(epoch - 3, None)
        return self._orders[epoch][position]


def _check(batch: Batch, gradient: Gradient) -> None:
    """``Diverged`` where the model has gone astray: from there on nothing of it is worth anything."""
    if not math.isfinite(gradient.loss):
        raise Diverged(f"the loss of minibatch {batch.number} is {gradient.loss}")
    if not all(math.isfinite(np.vdot(one, one)) for one in gradient.tables):
        raise Diverged(f"the gradient of minibatch {batch.number} is not finite")
