"""A shard's snapshots: weights, optimiser state, ledgers and values in one object, so that they always fit together."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields

import numpy as np

from cirrus.actors.shard import Counters, Shard
from cirrus.actors.values import Value, Values
from cirrus.core.ledger import Ledger
from cirrus.errors import Conflict, Corrupt, NotFound, StoreError, WireError
from cirrus.learn.past import Past
from cirrus.learn.tables import Table
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import (
    BEGINNING,
    Array,
    Draft,
    Newest,
    Offload,
    Snapshot,
    beginning,
    newest_snapshot,
    outlined,
    prune,
    save_snapshot,
    snapshot_key,
)
from cirrus.store.fields import JSON
from cirrus.wire.specs import spec_from_json, spec_to_json

KEEP = 2
"""Snapshots that are kept: the newest and, should that be broken, the one before."""

LOOK = 0.05
"""Seconds between two looks at a snapshot that is being written."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where a shard's snapshots are kept: below ``prefix``. ``offload`` runs what computes for a while.

    ``epoch`` is that of the run when the shard was started: it leaves alone what a shard of a later one has begun.
    """

    store: ObjectStore
    prefix: str
    epoch: int = 0
    offload: Offload = asyncio.to_thread

    async def newest(self) -> Newest:
        """The newest sound snapshot."""
        return await newest_snapshot(self.store, self.prefix, self.offload)


class Snapshots:
    """Writes a shard's snapshots, the first as number ``following``; ``busy`` while it does.

    ``skipped``: why newer snapshots than the one that the shard began with could not be read, newest first.
    """

    def __init__(self, shelf: Shelf, following: int = 0, bad: frozenset[str] = frozenset()) -> None:
        self.busy = False
        self.skipped: tuple[Corrupt, ...] = ()
        self._succeeded = False  # by another incarnation of the shard, which has written a number of ours
        self._shelf = shelf
        self._following = following
        self._bad = bad
        self._doubtful: set[bytes] = set()  # how those of ours begin that may be there under the following number

    async def save(self, shard: Shard) -> str:
        """Write the shard as it is now and return the key; steps go on meanwhile and are not part of it.

        ``Conflict`` where one is being written already, and for ever once another incarnation of the shard has written
        one in between: its steps are not ours. Numbers have no gaps, or an older incarnation could write behind a
        newer one's first: the number of one whose writing failed is the next one's.
        """
        if self.busy or self._succeeded:
            why = "a snapshot is being written" if self.busy else "another incarnation of this shard has taken over"
            raise Conflict(self._shelf.prefix, why)
        self.busy = True
        try:
            key = await self._write(await self._copied(Moment(shard, self._shelf.epoch, secrets.token_hex(8))))
            await prune(self._shelf.store, self._shelf.prefix, KEEP, self._bad)
        finally:
            self.busy = False
        return key

    async def save_last(self, shard: Shard, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Write the shard as it is at its end, behind a snapshot that is being written."""
        while self.busy:
            await sleep(LOOK)
        if not self._succeeded:
            await self.save(shard)

    async def _copied(self, moment: Moment) -> Draft:
        try:
            draft = await self._shelf.offload(moment.copied)
        finally:
            moment.end()
        await self._shelf.offload(moment.mend, draft)
        return draft

    async def _write(self, drafted: Draft) -> str:
        shelf = self._shelf
        while True:
            try:
                key = await save_snapshot(shelf.store, shelf.prefix, self._following, drafted, shelf.offload)
            except Conflict:
                if not await self._is_ours(self._following):
                    self._succeeded = True
                    raise
            except StoreError:
                self._doubtful.add(beginning(drafted))
                raise
            else:
                self._next()
                return key
            self._next()

    async def _is_ours(self, number: int) -> bool:
        """Whether a snapshot is one whose writing seemed to fail."""
        if not self._doubtful:
            return False
        try:
            found = await self._shelf.store.get(snapshot_key(self._shelf.prefix, number), 0, BEGINNING)
        except NotFound:
            return False  # another one that has pruned it goes on
        return found in self._doubtful

    def _next(self) -> None:
        self._following += 1
        self._doubtful.clear()


async def begin(shelf: Shelf) -> Snapshots:
    """How a shard that begins empty writes its snapshots."""
    newest = await shelf.newest()
    return Snapshots(shelf, newest.following, frozenset(one.key for one in newest.skipped))


async def resume(shard: Shard, shelf: Shelf) -> Snapshots:
    """Make a shard what its newest sound snapshot says, if there is one, and say how it writes more.

    It is written again at once, an empty one where there was none: from then on an older incarnation that still lives
    can write no more of them. ``Corrupt`` where the snapshot is of another shard, or fits none at all, or where there
    are some and none is sound: a shard that had learnt something does not begin again with zeros. ``Conflict`` where a
    shard of a later epoch has begun.
    """
    while True:
        snapshots = await _begun(shard, shelf)
        with suppress(Conflict):  # that one still lived, and has written one more: begin with it
            await snapshots.save(shard)
            return snapshots


async def _begun(shard: Shard, shelf: Shelf) -> Snapshots:
    """Fill the shard from its newest sound snapshot, of which nothing stays in memory."""
    newest = await shelf.newest()
    snapshots = Snapshots(shelf, newest.following, frozenset(one.key for one in newest.skipped))
    snapshots.skipped = newest.skipped
    if newest.snapshot is not None:
        if _whole(newest.snapshot.header.get("epoch", 0)) > shelf.epoch:
            raise Conflict(shelf.prefix, "a shard of a later driver has taken over")
        fill(shard, newest.snapshot, snapshot_key(shelf.prefix, newest.number))
    elif newest.skipped:
        raise newest.skipped[0]
    return snapshots


class Moment:
    """All that a shard holds when this is made, to be copied while steps go on; it makes nobody wait.

    First ``copied``, then ``end``, then ``mend``. Steps are the loop's, and so is ``end``; the others work for a while
    and belong on a thread. Who gives each a ``nonce`` of its own knows its snapshot from all others.
    """

    def __init__(self, shard: Shard, epoch: int = 0, nonce: str = "") -> None:
        self._tables = shard.kept
        self._values = shard.values.dump()
        self._header: dict[str, JSON] = {
            "epoch": epoch,
            "nonce": nonce,
            "shard": shard.shard,
            "shards": shard.shards,
            "clocks": [table.clock for table in self._tables],
            "ledgers": {str(line): ledger.dump() for line, ledger in shard.ledgers.items()},
            "version": shard.values.version,
            "counters": asdict(shard.counters),
        }
        self._pasts = [table.remember() for table in self._tables]

    def copied(self) -> Draft:
        """A copy of everything; rows that are changed meanwhile are still to be mended in it."""
        header: dict[str, JSON] = {
            **self._header,
            "tables": [spec_to_json(table.spec) for table in self._tables],
            "values": [[one.name, len(one.data), one.version, one.expires] for one in self._values],
        }
        arrays: dict[str, Array] = {
            f"{number}.{name}": array for number, past in enumerate(self._pasts) for name, array in past.arrays.items()
        }
        values = np.frombuffer(b"".join([one.data for one in self._values]), np.uint8)
        draft = outlined(header, {**arrays, "values": values})
        draft.places["values"][...] = values
        for number, past in enumerate(self._pasts):
            past.copy(_places(number, past, draft))
        return draft

    def end(self) -> None:
        """The copy is complete, or given up: rows need not be kept any more before they change."""
        for table in self._tables:
            table.forget()

    def mend(self, draft: Draft) -> None:
        """Make the copy what the shard was at this moment."""
        for number, past in enumerate(self._pasts):
            past.mend(_places(number, past, draft))


def _places(number: int, past: Past, draft: Draft) -> dict[str, Array]:
    """Where a draft has that table's arrays."""
    return {name: draft.places[f"{number}.{name}"] for name in past.arrays}


def fill(shard: Shard, snapshot: Snapshot, name: str) -> None:
    """Make a shard what the snapshot says; ``Corrupt``, with nothing changed, where it is of another, or fits none."""
    header = snapshot.header
    if (header.get("shard"), header.get("shards")) != (shard.shard, shard.shards):
        raise Corrupt(name, f"it is of shard {header.get('shard')} of {header.get('shards')}")
    try:
        tables = _tables(shard, snapshot)
        ledgers = {int(line): Ledger.load(_wholes(dump)) for line, dump in _mapped(header["ledgers"]).items()}
        values = _values(snapshot)
        counted = _mapped(header["counters"])
        counters = Counters(**{one.name: _whole(counted[one.name]) for one in fields(Counters)})
    except (KeyError, TypeError, ValueError, WireError, Corrupt) as error:
        raise Corrupt(name, f"it describes no shard: {error!r}") from error
    shard.tables.clear()  # the list itself stays, for whoever serves from it
    shard.numbers.clear()
    for table in tables:
        shard.adopt(table)
    shard.ledgers, shard.values, shard.counters = ledgers, values, counters


def _tables(shard: Shard, snapshot: Snapshot) -> list[Table]:
    specs = [spec_from_json(one) for one in _listed(snapshot.header["tables"])]
    clocks = _wholes(snapshot.header["clocks"])
    tables = []
    for number, (spec, clock) in enumerate(zip(specs, clocks, strict=True)):
        prefix = f"{number}."
        arrays = {name.removeprefix(prefix): one for name, one in snapshot.arrays.items() if name.startswith(prefix)}
        table = Table(spec, shard.shard, shard.shards)
        table.restore(arrays, clock)
        tables.append(table)
    return tables


def _values(snapshot: Snapshot) -> Values:
    data, at, values = snapshot.arrays["values"].tobytes(), 0, []
    for given in _listed(snapshot.header["values"]):
        name, size, version, expires = _listed(given)
        if not isinstance(name, str) or not (expires is None or isinstance(expires, int | float)):
            raise TypeError("a value's name and expiry")
        values.append(Value(name, data[at : at + _whole(size)], _whole(version), expires))
        at += _whole(size)
    if at != len(data):
        raise ValueError("values of another size")
    return Values(values, _whole(snapshot.header["version"]))


def _listed(given: JSON) -> list[JSON]:
    if not isinstance(given, list):
        raise TypeError("a list is expected")
    return given


def _wholes(given: JSON) -> list[int]:
    found = _listed(given)
    return [_whole(one) for one in found]


def _whole(given: JSON) -> int:
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError("a whole number is expected")
    return given


def _mapped(given: JSON) -> Mapping[str, JSON]:
    if not isinstance(given, Mapping):
        raise TypeError("a mapping is expected")
    return given
