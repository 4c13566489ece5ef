"""What a training worker does with a unit: pull rows, compute the gradient, push it, several steps in flight."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from cirrus.learn.schedule import block_order, row_order, steps_in, under_way
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


@dataclass(slots=True)
class _Part:
    """A unit that is worked on: its rows in their order, the number of its first minibatch, and its minibatches.

    ``ahead``: those whose rows are asked for; ``later``: the one that comes after them, of ``batches``.
    """

    lease: Lease
    rows: Rows
    number: int
    batches: Iterator[Batch] = field(default_factory=lambda: iter(()))
    ahead: deque[Batch] = field(default_factory=deque)
    later: Batch | None = None

    def advance(self) -> None:
        """The rows of ``later`` are asked for: make the next one."""
        if self.later is not None:
            self.ahead.append(self.later)
            self.later = next(self.batches, None)


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
        self._expected: dict[int, Lease] = {}  # by unit, in the order in which they will be done
        self._ahead: _Part | None = None  # opened before its turn has come

    @classmethod
    async def open(cls, bench: Bench, key: str) -> Self:
        """Read what is to be done and connect to the shards."""
        work = await read_train_work(bench.store, key)
        dataset = await load(bench.store, work.dataset)
        kernel = kernel_of(work.train, dataset.features)
        names = [work.table(table.name) for table in kernel.tables()]
        # Half of the steps in flight go out as one message, while the answers to the other half come in.
        group = max(1, work.train.in_flight // 2)
        return cls(bench, work, dataset, await StepClient.connect(dial(bench), names, group))

    def expect(self, lease: Lease) -> None:
        self._expected[lease.unit] = lease
        self._blocks.expect(self._block(lease.unit))

    async def do(self, lease: Lease) -> Done | Back:
        self._expected.pop(lease.unit, None)
        part = self._ahead if self._ahead is not None and self._ahead.lease == lease else await self._part(lease)
        first, tries = -1, 0
        while self._bench.standing.leaving is None:
            try:
                if await self._learn(part):
                    return Done(lease.unit, lease.lease, len(part.rows))
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

    async def _part(self, lease: Lease) -> _Part:
        number = self._block(lease.unit)
        rows = await self._blocks.get(number)
        rows = rows.take(row_order(self._work.train.seed, lease.unit, len(rows)))
        return _Part(lease, rows, self._first_numbers[number])

    async def _learn(self, part: _Part) -> bool:
        """Do all steps of the unit that some shard lacks; False: the worker is to leave before the last."""
        client, minibatch = self._client, self._work.train.minibatch
        following: _Part | None = None
        for step in range(await self._begin(part), steps_in(len(part.rows), minibatch)):
            if self._bench.standing.leaving is not None:
                await client.flush()
                return False
            batch = part.ahead.popleft()
            gradient = self._kernel.gradient(batch, await client.rows())
            _check(batch, gradient)
            self._samples += len(batch.rows)
            self._steps += 1
            self._loss += gradient.loss
            if part.later is not None:
                await client.push_pull(step, gradient.tables, client.ask(part.later.keys))
                part.advance()  # while what was sent is under way
                await self._deepen(part)
            else:
                following = following or await self._following()
                await client.push(step, gradient.tables, more=following is not None and not part.ahead)
        if following is not None:
            self._ahead = following
            await client.open_ahead(self._work.base + following.lease.unit, following.lease.lease)
            await self._pull(following)
        await client.flush()
        return True

    async def _begin(self, part: _Part) -> int:
        """Open the unit and ask for the rows of its first steps, unless that was done ahead; returns the first step."""
        unit, attempt = self._work.base + part.lease.unit, part.lease.lease
        self._ahead = None
        first = await self._client.opened(unit, attempt)
        if first != 0:
            first = self._first = await self._client.open(unit, attempt)
            self._make_ready(part, first)
            await self._pull(part)
        self._first = first
        return first

    def _make_ready(self, part: _Part, first: int) -> None:
        """Make the minibatches from step ``first`` on that are in flight at the same time."""
        part.batches = self._kernel.batches(part.rows, self._work.train.minibatch, first, part.number)
        part.ahead = deque(islice(part.batches, self._depth()))
        part.later = next(part.batches, None)

    async def _deepen(self, part: _Part) -> None:
        """Ask for the rows of one more step where more may be under way by now."""
        if part.later is not None and len(part.ahead) < self._depth():
            await self._client.pull(self._client.ask(part.later.keys))
            part.advance()

    def _depth(self) -> int:
        """Steps to keep under way now."""
        train = self._work.train
        return under_way(self._client.clock, train.workers, train.in_flight)

    async def _pull(self, part: _Part) -> None:
        for batch in part.ahead:
            await self._client.pull(self._client.ask(batch.keys))

    async def _following(self) -> _Part | None:
        """The unit that comes next, if it is known and its block is here, ready to be pulled for."""
        for lease in self._expected.values():
            if not self._blocks.at_hand(self._block(lease.unit)):
                break
            part = await self._part(lease)
            self._make_ready(part, 0)
            return part
        return None

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
    for one in gradient.tables:
        if not math.isfinite(np.vdot(one, one)):
            raise Diverged(f"the gradient of minibatch {batch.number} is not finite")
