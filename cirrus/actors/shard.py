"""A shard of the parameter server without its sockets: tables, ledgers and values, bytes in and bytes out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from cirrus.actors.values import Values
from cirrus.core.ledger import Ledger, Opened, Verdict
from cirrus.core.placement import rows_on
from cirrus.errors import Conflict, WireError
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats, Keys
from cirrus.learn.rules import Local
from cirrus.learn.tables import Table
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Open, Read, Request, Status, Step

MAX_PULLS = 64
"""Pulls that a connection may have open, that is: steps that it may have in flight."""

MAX_HELD = 64 * 1024 * 1024
"""Bytes that a shard keeps for the open pulls of one connection, beyond which it opens no more."""

MAX_GRADIENT = 1e6
"""No honest gradient of a mean loss is larger in magnitude; what is has gone astray and must not reach the weights."""

MAX_TABLES = 1024
MAX_TABLE_BYTES = 4 * 1024**3

LINE = 1 << 32
"""A unit's number divided by this is the line, a stage or trial, that it belongs to; each has a ledger of its own."""

_VERDICTS = {Verdict.APPLY: Status.APPLIED, Verdict.DUPLICATE: Status.DUPLICATE, Verdict.STALE: Status.STALE}


class OpenPull(NamedTuple):
    """Rows that a worker has and whose gradient it owes: tables, local rows in each, their clocks then.

    ``values`` are the rows as they were pulled, where the push makes use of them. ``size``: bytes that all this takes.
    """

    tables: tuple[int, ...]
    rows: tuple[Local, ...]
    clocks: tuple[int, ...]
    values: tuple[Floats | None, ...]
    size: int


@dataclass(slots=True)
class Connection:
    """What a shard remembers of one socket: the unit that is worked on, as which attempt, and the open pulls."""

    unit: int = -1
    attempt: int = -1
    pulls: deque[OpenPull] = field(default_factory=deque)
    held: int = 0


@dataclass(slots=True)
class Counters:
    """What a shard has done since it was started; ``staleness`` is the largest since it was last asked for."""

    applied: int = 0
    duplicates: int = 0
    stale: int = 0
    refused: int = 0
    frames: int = 0
    received: int = 0
    sent: int = 0
    staleness: int = 0


class Shard:
    """The part of a model that shard ``shard`` of ``shards`` holds, and which steps have gone into it."""

    def __init__(self, shard: int, shards: int) -> None:
        self.shard = shard
        self.shards = shards
        self.tables: list[Table] = []
        self.numbers: dict[str, int] = {}
        self.ledgers: dict[int, Ledger] = {}
        self.values = Values()
        self.counters = Counters()

    @property
    def clock(self) -> int:
        """Steps applied, over all tables' clocks: it changes whenever any weight does."""
        return sum(table.clock for table in self.tables)

    def check(self, spec: TableSpec) -> None:
        """``Conflict`` where ``create`` could not make that table."""
        number = self.numbers.get(spec.name)
        if number is not None and self.tables[number].spec != spec:
            raise Conflict(spec.name, "there is a table of that name and another description")
        if number is None and len(self.tables) >= MAX_TABLES:
            raise Conflict(spec.name, f"there are {MAX_TABLES} tables already")
        if 4 * spec.width * rows_on(self.shard, spec.rows, self.shards) > MAX_TABLE_BYTES:
            raise Conflict(spec.name, f"a shard's part of a table has at most {MAX_TABLE_BYTES} bytes: use more shards")

    def create(self, spec: TableSpec) -> int:
        """The number of the table of that description, which is made if there is none; ``Conflict``."""
        self.check(spec)
        if spec.name not in self.numbers:
            self.adopt(Table(spec, self.shard, self.shards))
        return self.numbers[spec.name]

    def adopt(self, table: Table) -> None:
        """Serve a table under the next number."""
        self.numbers[table.spec.name] = len(self.tables)
        self.tables.append(table)

    def ledger(self, unit: int) -> Ledger:
        """The ledger of the line that the unit belongs to."""
        line = unit // LINE
        found = self.ledgers.get(line)
        if found is None:
            found = self.ledgers[line] = Ledger()
        return found

    def close_below(self, unit: int) -> None:
        """All steps of the units below ``unit`` in its line are applied on every shard: keep no entries for them."""
        self.ledger(unit).close_below(unit % LINE)

    def handle(self, connection: Connection, message: bytes) -> bytes:
        """Do what a message's frames ask for and answer each; ``WireError`` at a bad frame, which does nothing."""
        answers: list[bytes] = []
        room = frames.MAX_MESSAGE
        for request in frames.requests(message):
            answer = self._answer(connection, request, room)
            room -= len(answer)
            answers.append(answer)
        counters = self.counters
        counters.frames += len(answers)
        counters.received += len(message)
        counters.sent += frames.MAX_MESSAGE - room
        return answers[0] if len(answers) == 1 else b"".join(answers)

    def _answer(self, connection: Connection, request: Request, room: int) -> bytes:
        match request:
            case Step():
                return self._step(connection, request, room)
            case Open():
                return self._open(connection, request)
            case Read():
                return self._read(request, room)

    def _open(self, connection: Connection, request: Open) -> bytes:
        unit, attempt = request
        found = self.ledger(unit).open(unit % LINE, attempt)
        connection.pulls.clear()
        connection.held = 0
        if isinstance(found, Opened):
            connection.unit, connection.attempt = unit, attempt
            return frames.encode_opened(frames.Opened(Status.APPLIED, unit, found.last, attempt))
        connection.unit = connection.attempt = -1
        self.counters.stale += 1
        return frames.encode_opened(frames.Opened(Status.STALE, unit, -1, found.current))

    def _read(self, request: Read, room: int) -> bytes:
        rows = self._checked(request.tables, request.keys, room)
        tables = [self.tables[number] for number in request.tables]
        found = tuple([table.read(local) for table, local in zip(tables, rows, strict=True)])
        return frames.encode_answer(Answer(Status.NONE, 0, tables[0].clock, found), request.tables)

    def _step(self, connection: Connection, request: Step, room: int) -> bytes:
        """Check all of a frame, then let the ledger decide, then apply: after the decision nothing can fail."""
        if connection.unit < 0:
            raise WireError("a step before a unit was opened")
        number, tables, gradients, keys = request
        pull = None if gradients is None else self._check_push(connection, tables, gradients)
        rows = None if keys is None else self._checked(tables, keys, room)
        if rows is not None:
            self._check_room(connection, 0 if pull is None else 1)
        status = Status.NONE
        if pull is not None and gradients is not None:
            status = self._push(connection, number, pull, gradients)
        served = None
        if rows is not None and status is not Status.STALE:
            served = self._pull(connection, tables, rows)
        return frames.encode_answer(Answer(status, number, self.tables[tables[0]].clock, served), tables)

    def _check_push(self, connection: Connection, tables: tuple[int, ...], gradients: tuple[Floats, ...]) -> OpenPull:
        if not connection.pulls:
            raise WireError("a push without an open pull")
        pull = connection.pulls[0]
        if pull.tables != tables:
            raise WireError("a push to other tables than were pulled from")
        for at, gradient in enumerate(gradients):
            if gradient.shape != (len(pull.rows[at]), self.tables[tables[at]].spec.width):
                raise WireError("a gradient of another shape than the rows that were pulled")
            _check_magnitude(gradient)
        return pull

    def _checked(self, tables: tuple[int, ...], keys: tuple[Keys, ...], room: int) -> tuple[Local, ...]:
        """The rows as indices, when tables and rows exist, rows ascend strictly, and the answer fits in ``room``."""
        size = 64 + 8 * len(tables)
        for number, local in zip(tables, keys, strict=True):
            if number >= len(self.tables):
                raise WireError(f"no table {number}")
            spec = self.tables[number].spec
            size += 4 * len(local) * spec.width
            if len(local) and local[-1] >= rows_on(self.shard, spec.rows, self.shards):
                raise WireError(f"a row beyond table {spec.name!r}")
            if len(local) > 1 and np.count_nonzero(local[1:] > local[:-1]) != len(local) - 1:
                raise WireError("rows that do not ascend strictly")
        if size > room:
            raise WireError("more rows than fit in an answer")
        return tuple([local.astype(np.intp) for local in keys])

    def _check_room(self, connection: Connection, leaving: int) -> None:
        if len(connection.pulls) - leaving >= MAX_PULLS:
            raise WireError(f"more than {MAX_PULLS} open pulls")
        if connection.held > MAX_HELD:
            raise WireError("open pulls of too many rows")

    def _push(self, connection: Connection, step: int, pull: OpenPull, gradients: tuple[Floats, ...]) -> Status:
        unit = connection.unit
        verdict = self.ledger(unit).judge(unit % LINE, connection.attempt, step)
        if verdict is Verdict.GAP:
            raise WireError("a step before this one is missing")
        connection.pulls.popleft()
        connection.held -= pull.size
        if verdict is Verdict.APPLY:
            self._apply(pull, gradients)
        elif verdict is Verdict.DUPLICATE:
            self.counters.duplicates += 1
        else:
            self.counters.stale += 1
        return _VERDICTS[verdict]

    def _apply(self, pull: OpenPull, gradients: tuple[Floats, ...]) -> None:
        for at, number in enumerate(pull.tables):
            table = self.tables[number]
            staleness = table.clock - pull.clocks[at]
            self.counters.staleness = max(self.counters.staleness, staleness)
            table.push(pull.rows[at], gradients[at], pull.values[at])
        self.counters.applied += 1

    def _pull(self, connection: Connection, tables: tuple[int, ...], rows: tuple[Local, ...]) -> tuple[Floats, ...]:
        held = [self.tables[number] for number in tables]
        served = tuple([table.pull(local) for table, local in zip(held, rows, strict=True)])
        kept = tuple([values if table.damps else None for table, values in zip(held, served, strict=True)])
        size = sum([one.nbytes for one in (*rows, *kept) if one is not None])
        connection.pulls.append(OpenPull(tables, rows, tuple([table.clock for table in held]), kept, size))
        connection.held += size
        return served


def _check_magnitude(gradient: Floats) -> None:
    """``WireError`` where a gradient is not finite or too large; one dot product shows that nearly all are neither."""
    if np.vdot(gradient, gradient) <= MAX_GRADIENT * MAX_GRADIENT:
        return
    if not np.all(np.abs(gradient) <= MAX_GRADIENT):
        raise WireError("a gradient that is not finite or too large")
