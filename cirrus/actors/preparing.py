"""The course of a preparation stage: scan, merge, encode, and commit one manifest.

A unit's output counts when the control actor reports the unit done, once; what other attempts wrote stays invisible.
"""

from __future__ import annotations

from contextlib import aclosing

from cirrus import events
from cirrus.actors.crew import LEASE_SECONDS, Crew, ear, heard
from cirrus.actors.inspection import without_scan
from cirrus.actors.scheduler import Close, Open, Steer
from cirrus.actors.work import ENCODING, PREPARE_WORK, WRITTEN, Encoding, PrepareWork, Written
from cirrus.core.messages import Allow, OpenPool, PoolDone, UnitDone
from cirrus.errors import Conflict, InputError
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import NONE
from cirrus.learn.scaling import SplitStatistics, TrainStatistics
from cirrus.steps import Every
from cirrus.store.base import ObjectInfo
from cirrus.store.datasets import BlockInfo, DataSet, commit, load

TIMEOUT = 900.0


async def prepare(crew: Crew, work: PrepareWork) -> tuple[str, DataSet]:
    """Run the stage to its end; the manifest's key, and the data set."""
    stage, clock = work.prepare, crew.kernel.clock
    began = clock.monotonic()
    crew.bus.publish(events.StageStarted(at=crew.at, stage=stage.name, workers=stage.workers))
    key = crew.key(stage.name, "work.json")
    text = await crew.kernel.blocking(PREPARE_WORK.to_json, work)
    await crew.store.put(key, text.encode())
    if not work.scans:
        first_rows = tuple(0 for _ in work.pieces)
        await _write_encoding(crew, work, Encoding(without_scan(work).to_json(), first_rows))
    encoding, written = await _follow(crew, work, key)
    dataset = await crew.kernel.blocking(_dataset, work, encoding, written)
    manifest = crew.key(stage.name, "manifest.json")
    try:
        await commit(crew.store, manifest, dataset)
    except Conflict:  # an earlier driver has, and died before it said so: all but the blocks' names is the same
        dataset = await load(crew.store, manifest)
    crew.bus.publish(_summary(crew, stage.name, dataset))
    crew.bus.publish(events.StageFinished(at=crew.at, stage=stage.name, seconds=clock.monotonic() - began))
    return manifest, dataset


async def _follow(crew: Crew, work: PrepareWork, key: str) -> tuple[Encoding, list[Written]]:
    """Have all units done by workers; the encoding that came of the scans, and what was written for each piece."""
    stage, mailbox = work.prepare, ear()
    total = work.scans + len(work.pieces)
    pool = OpenPool(stage.name, key, total, total, LEASE_SECONDS)
    await crew.scheduler.ask(Open(pool, stage.name, "prepare", stage.workers, stage.memory, TIMEOUT, mailbox))
    await crew.scheduler.ask(Steer(Allow(stage.name, work.scans or total)))
    outputs: dict[int, str] = {}
    rows = 0
    async with aclosing(heard(mailbox)) as messages:
        async for message in messages:
            if isinstance(message, PoolDone):
                break
            if not isinstance(message, UnitDone):
                continue
            outputs[message.unit] = message.output
            rows += message.rows if message.unit >= work.scans else 0
            crew.bus.publish(
                events.StageProgress(at=crew.at, stage=stage.name, done=len(outputs), total=total, rows=rows)
            )
            if message.unit < work.scans and all(unit in outputs for unit in range(work.scans)):
                await _merge(crew, work, [outputs[unit] for unit in range(work.scans)])
                await crew.scheduler.ask(Steer(Allow(stage.name, total)))
    await crew.scheduler.ask(Close(stage.name))
    encoding = ENCODING.from_json((await crew.store.get(work.encoding)).decode())
    written = [
        WRITTEN.from_json((await crew.store.get(outputs[unit])).decode()) for unit in range(work.scans, total)
    ]
    return encoding, written


async def _merge(crew: Crew, work: PrepareWork, keys: list[str]) -> None:
    """Add up what the scans found, and write what encoding needs to know."""
    found = [SplitStatistics.from_json((await crew.store.get(key)).decode()) for key in keys]
    await _write_encoding(crew, work, await crew.kernel.blocking(_merged, work, found))


def _merged(work: PrepareWork, found: list[SplitStatistics]) -> Encoding:
    first_rows, count = [0 for _ in work.pieces], 0
    for number, one in enumerate(found):
        first_rows[number] = count
        count += one.rows
    rule = work.prepare.test if isinstance(work.prepare.test, Every) else NONE
    parts = [one.select(first_rows[number], rule) for number, one in enumerate(found)]
    encoder = Encoder.fit(work.inputs[0].source, work.prepare.steps, TrainStatistics.merged(parts))
    return Encoding(encoder.to_json(), tuple(first_rows))


async def _write_encoding(crew: Crew, work: PrepareWork, encoding: Encoding) -> None:
    await crew.store.put(work.encoding, ENCODING.to_json(encoding).encode())


def _dataset(work: PrepareWork, encoding: Encoding, written: list[Written]) -> DataSet:
    encoder = Encoder.from_json(encoding.encoder)
    train = tuple(BlockInfo(*block) for one in written for block in one.train)
    test = tuple(BlockInfo(*block) for one in written for block in one.test)
    if not train:
        raise InputError(work.inputs[0].source.path, "no row is left to train on")
    read = {piece.split.object.name: piece.split.object for piece in work.pieces}
    return DataSet(
        features=encoder.features,
        train=train,
        test=test,
        rows_in=sum(one.rows for one in written),
        skipped=sum(one.skipped for one in written),
        encoder=encoding.encoder,
        input=tuple(ObjectInfo(name, one.size, one.etag) for name, one in read.items()),
    )


def _summary(crew: Crew, stage: str, dataset: DataSet) -> events.RowsPrepared:
    return events.RowsPrepared(
        at=crew.at,
        stage=stage,
        rows_in=dataset.rows_in,
        skipped=dataset.skipped,
        train=sum(block.rows for block in dataset.train),
        test=sum(block.rows for block in dataset.test),
        features=dataset.features,
    )
