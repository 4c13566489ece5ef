"""What a preparation worker does with a unit: scan a piece of the input, or turn it into blocks.

All that is written carries the lease's number in its key, so attempts never meet; what counts is what the driver hears
of, once a unit.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

from cirrus.actors.jobs import Bench
from cirrus.actors.work import ENCODING, PREPARE_WORK, WRITTEN, Encoding, Input, Piece, PrepareWork, Written
from cirrus.actors.worker import resident
from cirrus.core.messages import Back, Beat, Done, Lease
from cirrus.errors import InputError
from cirrus.learn.columns import Flags, Parsed
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import ALL, NONE, Holdout
from cirrus.learn.parsing import parser
from cirrus.learn.plans import needs
from cirrus.learn.rows import Rows, concatenate
from cirrus.learn.scaling import Needs, Scan
from cirrus.steps import Every
from cirrus.store.base import ObjectStore
from cirrus.store.blocks import encode_block
from cirrus.store.counted import Counted
from cirrus.store.datasets import BlockInfo
from cirrus.store.opening import open_store
from cirrus.store.reading import lines, relocated


def holdout(work: PrepareWork, one: Input) -> Holdout:
    """Which rows of an input are test rows."""
    match one.use:
        case "train":
            return Holdout(NONE)
        case "test":
            return Holdout(ALL)
        case "divided":
            rule = work.prepare.test
            assert isinstance(rule, float | int | Every), "another source is an input of its own"
            return Holdout(rule, work.prepare.seed)


class PrepareJob:
    """Scans and encodes pieces of the input."""

    holds = 1

    def __init__(self, bench: Bench, work: PrepareWork) -> None:
        self._bench = bench
        self._work = work
        self._stores: dict[str, ObjectStore] = {}
        self._encoding: tuple[Encoder, Encoding] | None = None
        self._rows = 0

    @classmethod
    async def open(cls, bench: Bench, key: str) -> Self:
        """Read what is to be done."""
        return cls(bench, PREPARE_WORK.from_json((await bench.store.get(key)).decode()))

    def expect(self, lease: Lease) -> None:
        """Pieces are read as they are parsed; there is nothing to foresee."""

    async def do(self, lease: Lease) -> Done | Back:
        if lease.unit < self._work.scans:
            return await self._scan(lease, self._work.pieces[lease.unit])
        return await self._encode(lease, lease.unit - self._work.scans)

    def beat(self) -> Beat:
        rows, self._rows = self._rows, 0
        return Beat(resident(), samples=rows)

    async def close(self) -> None:
        for store in self._stores.values():
            await store.close()

    async def _scan(self, lease: Lease, piece: Piece) -> Done | Back:
        one = self._work.inputs[piece.input]
        wanted = Needs() if one.use == "test" else needs(one.source, self._work.prepare.steps)
        scan = Scan(wanted, holdout(self._work, one), piece.split.object.number)
        async with aclosing(self._parsed(piece)) as chunks:
            async for offset, parsed in chunks:
                if self._bench.standing.leaving is not None:
                    return Back(lease.unit, lease.lease)
                scan.add(parsed, offset)
                self._rows += parsed.rows
        found = scan.result()
        key = f"{self._work.output}scan/{lease.unit:06d}-{lease.lease}.json"
        await self._bench.store.put(key, found.to_json().encode())
        return Done(lease.unit, lease.lease, found.rows, key)

    async def _encode(self, lease: Lease, number: int) -> Done | Back:
        encoder, encoding = await self._read_encoding()
        piece = self._work.pieces[number]
        rule = holdout(self._work, self._work.inputs[piece.input])
        stem = f"{self._work.output}blocks/{number:06d}-{lease.lease}"
        train = Shelf(self._bench.store, f"{stem}-train", self._work.prepare.block)
        test = Shelf(self._bench.store, f"{stem}-test", self._work.prepare.block)
        rows = skipped = 0
        async with aclosing(self._parsed(piece)) as chunks:
            async for offset, parsed in chunks:
                if self._bench.standing.leaving is not None:
                    return Back(lease.unit, lease.lease)
                first = encoding.first_rows[number] + rows
                tested = rule.test_rows(parsed, first, piece.split.object.number, offset)
                await _divide(encoder.encode(parsed.content), tested, train, test)
                rows += parsed.rows
                skipped += parsed.skipped
                self._rows += parsed.rows
        written = Written(await train.finish(), await test.finish(), rows, skipped)
        key = f"{self._work.output}encode/{number:06d}-{lease.lease}.json"
        await self._bench.store.put(key, WRITTEN.to_json(written).encode())
        return Done(lease.unit, lease.lease, rows, key)

    async def _parsed(self, piece: Piece) -> AsyncGenerator[tuple[int, Parsed], None]:
        """The chunks of a piece: where each begins in its object, and its rows."""
        one = self._work.inputs[piece.input]
        store = self._stores.get(one.url)
        if store is None:
            store = self._stores[one.url] = Counted(open_store(one.url), self._bench.count)
        parse = parser(one.source).parse
        try:
            async with aclosing(lines(store, piece.split, one.header.encode("latin-1"))) as chunks:
                async for chunk in chunks:
                    yield chunk.offset, parse(chunk.data, chunk.line, piece.split.object.name)
        except InputError as error:
            raise await relocated(store, piece.split, error) from error

    async def _read_encoding(self) -> tuple[Encoder, Encoding]:
        if self._encoding is None:
            encoding = ENCODING.from_json((await self._bench.store.get(self._work.encoding)).decode())
            self._encoding = Encoder.from_json(encoding.encoder), encoding
        return self._encoding


async def _divide(rows: Rows, tested: Flags, train: Shelf, test: Shelf) -> None:
    if not tested.any():
        await train.add(rows)
    elif tested.all():
        await test.add(rows)
    else:
        await train.add(rows.take((~tested).nonzero()[0]))
        await test.add(rows.take(tested.nonzero()[0]))


class Shelf:
    """Gathers rows and writes them as blocks of ``size`` rows, the last one smaller."""

    def __init__(self, store: ObjectStore, stem: str, size: int) -> None:
        self._store = store
        self._stem = stem
        self._size = size
        self._waiting: list[Rows] = []
        self._count = 0
        self._blocks: list[BlockInfo] = []

    async def add(self, rows: Rows) -> None:
        """Take rows in, and write the blocks that are full."""
        self._waiting.append(rows)
        self._count += len(rows)
        if self._count >= self._size:
            gathered = concatenate(self._waiting)
            whole = self._count - self._count % self._size
            for start in range(0, whole, self._size):
                await self._write(gathered.slice(start, start + self._size))
            rest = gathered.slice(whole, self._count)
            self._waiting, self._count = ([rest] if len(rest) else []), len(rest)

    async def finish(self) -> tuple[tuple[str, int, int, int, int], ...]:
        """Write what is left, and say what was written."""
        if self._count:
            await self._write(concatenate(self._waiting))
        return tuple((block.key, block.rows, block.nnz, block.size, block.crc) for block in self._blocks)

    async def _write(self, rows: Rows) -> None:
        key = f"{self._stem}-{len(self._blocks):04d}.block"
        data = encode_block(rows)
        await self._store.put(key, data)
        self._blocks.append(BlockInfo.of(key, rows, data))
