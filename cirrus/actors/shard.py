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

_SURELY_SANE = MAX_GRADIENT**2  # a sum of squares up to this has no larger gradient in it

MAX_TABLES = 1024
MAX_TABLE_BYTES = 4 * 1024**3

LINE = 1 << 32
"""A unit's number divided by this is the line, a stage or trial, that it belongs to; each has a ledger of its own."""


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
        tables = self._known(request.tables)
        rows = _checked_rows(tables, request.keys, room)
        found = tuple([table.read(local) for table, local in zip(tables, rows, strict=True)])
        return frames.encode_answer(Answer(Status.NONE, 0, tables[0].clock, found), request.tables)

    def _step(self, connection: Connection, request: Step, room: int) -> bytes:
        """Check all of a frame, then let the ledger decide, then apply: after the decision nothing can fail."""
        if connection.unit < 0:
            raise WireError("a step before a unit was opened")
        number, numbers, gradients, keys = request
        tables = self._known(numbers)
        pull, rows, status, served = None, None, Status.NONE, None
        if gradients is not None:
            pull = _checked_push(connection, request, tables)
        if keys is not None:
            rows = _checked_rows(tables, keys, room)
            if len(connection.pulls) >= MAX_PULLS + (pull is not None):
                raise WireError(f"more than {MAX_PULLS} open pulls")
            if connection.held > MAX_HELD:
                raise WireError("open pulls of too many rows")
        if pull is not None and gradients is not None:
            status = self._push(connection, number, pull, gradients)
        if rows is not None and status is not Status.STALE:
            served = _pull(connection, numbers, tables, rows)
        return frames.encode_answer(Answer(status, number, tables[0].clock, served), numbers)

    def _known(self, numbers: tuple[int, ...]) -> list[Table]:
        try:
            return [self.tables[number] for number in numbers]
        except IndexError:
            raise WireError("no table of that number") from None

    def _push(self, connection: Connection, step: int, pull: OpenPull, gradients: tuple[Floats, ...]) -> Status:
        unit = connection.unit
        verdict = self.ledger(unit).judge(unit % LINE, connection.attempt, step)
        if verdict is Verdict.GAP:
            raise WireError("a step before this one is missing")
        connection.pulls.popleft()
        connection.held -= pull.size
        if verdict is Verdict.APPLY:
            self._apply(pull, gradients)
            return Status.APPLIED
        if verdict is Verdict.DUPLICATE:
            self.counters.duplicates += 1
            return Status.DUPLICATE
        self.counters.stale += 1
        return Status.STALE

    def _apply(self, pull: OpenPull, gradients: tuple[Floats, ...]) -> None:
        counters = self.counters
        for at, table in enumerate(self._known(pull.tables)):
            staleness = table.clock - pull.clocks[at]
            counters.staleness = max(counters.staleness, staleness)
            table.push(pull.rows[at], gradients[at], pull.values[at])
        counters.applied += 1


def _pull(
    connection: Connection, numbers: tuple[int, ...], tables: list[Table], rows: tuple[Local, ...]
) -> tuple[Floats, ...]:
    """The rows, whose gradients the worker owes from now on."""
    served, kept, size = [], [], 0
    for at, table in enumerate(tables):
        values = table.pull(rows[at])
        served.append(values)
        kept.append(values if table.damps else None)
        size += rows[at].nbytes + (values.nbytes if table.damps else 0)
    connection.pulls.append(OpenPull(numbers, rows, tuple([table.clock for table in tables]), tuple(kept), size))
    connection.held += size
    return tuple(served)


def _checked_push(connection: Connection, request: Step, tables: list[Table]) -> OpenPull:
    """The oldest open pull, when the gradients fit it and each is finite and of a sane magnitude."""
    if not connection.pulls or request.gradients is None:
        raise WireError("a push without an open pull")
    pull = connection.pulls[0]
    if pull.tables != request.tables:
        raise WireError("a push to other tables than were pulled from")
    for at, gradient in enumerate(request.gradients):
        if gradient.shape != (len(pull.rows[at]), tables[at].spec.width):
            raise WireError("a gradient of another shape than the rows that were pulled")
        # One dot product shows of nearly all gradients that they are neither infinite nor NaN nor too large.
        if not float(np.vdot(gradient, gradient)) <= _SURELY_SANE and not np.all(np.abs(gradient) <= MAX_GRADIENT):
            raise WireError("a gradient that is not finite or too large")
    return pull


def _checked_rows(tables: list[Table], keys: tuple[Keys, ...], room: int) -> tuple[Local, ...]:
    """The rows as indices, when the tables have them, they ascend strictly, and the answer fits in ``room``."""
    size = 64
    for table, local in zip(tables, keys, strict=True):
        count = len(local)
        size += 8 + 4 * count * table.spec.width
        if count:
            if local.item(-1) >= table.rows:
                raise WireError(f"a row beyond table {table.spec.name!r}")
            if np.count_nonzero(local[1:] > local[:-1]) != count - 1:
                raise WireError("rows that do not ascend strictly")
    if size > room:
        raise WireError("more rows than fit in an answer")
    return tuple([local.astype(np.intp) for local in keys])
