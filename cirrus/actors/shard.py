"""A shard of the parameter server without its sockets: tables, ledgers and values, bytes in and bytes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from cirrus.actors.serving import OpenPull, serving
from cirrus.actors.values import Values
from cirrus.core.ledger import Ledger, Opened, Verdict
from cirrus.core.placement import rows_on
from cirrus.errors import Conflict, WireError
from cirrus.learn.base import TableSpec
from cirrus.learn.tables import Table
from cirrus.optimizers import SGD
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Open, Read, Status, Step
from cirrus.wire.framing import Framing

MAX_PULLS = 64
"""Pulls that a connection may have open, that is: steps that it may have in flight."""

MAX_HELD = 64 * 1024 * 1024
"""Bytes of rows that a shard keeps for the open pulls of one connection, beyond which it opens no more.

The gradients that came in the same messages may stay as long, which is about as much again.
"""

MAX_TABLES = 1024
MAX_NUMBERS = 1 << 16
"""Numbers of tables that frames can name: those of tables that were dropped are not given again."""

MAX_TABLE_BYTES = 4 * 1024**3

# Python 3.11 runs code each time that a member of an enumeration is named, which adds up to a tenth of a step.
_APPLY, _DUPLICATE, _GAP = Verdict.APPLY, Verdict.DUPLICATE, Verdict.GAP
_APPLIED, _REPEATED, _STALE, _NONE = Status.APPLIED, Status.DUPLICATE, Status.STALE, Status.NONE

DROPPED = TableSpec("", 0, 1, SGD(1.0))
"""What is left of a table that was dropped: no rows."""

LINE = 1 << 32
"""A unit's number divided by this is the line, a stage or trial, that it belongs to; each has a ledger of its own."""


@dataclass(slots=True)
class Connection:
    """What a shard remembers of one socket: the unit that is worked on, as which attempt, and the open pulls.

    ``unit`` counts within its line, whose ledger is ``ledger``; ``None``: no unit is open.
    """

    ledger: Ledger | None = None
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
        self._framing = Framing()
        self._serving = serving(self.tables)
        self._gone = 0  # steps of tables that were dropped

    @property
    def clock(self) -> int:
        """Steps applied, over all tables' clocks: it changes whenever any weight does."""
        return self._gone + sum(table.clock for table in self.tables)

    @property
    def kept(self) -> tuple[Table, ...]:
        """The tables that were not dropped, in the order of their numbers."""
        return tuple(self.tables[number] for number in sorted(self.numbers.values()))

    def check(self, spec: TableSpec) -> None:
        """``Conflict`` where ``create`` could not make that table."""
        number = self.numbers.get(spec.name)
        if number is not None and self.tables[number].spec != spec:
            raise Conflict(spec.name, "there is a table of that name and another description")
        if number is None and len(self.numbers) >= MAX_TABLES:
            raise Conflict(spec.name, f"there are {MAX_TABLES} tables already")
        if number is None and len(self.tables) >= MAX_NUMBERS:
            raise Conflict(spec.name, f"{MAX_NUMBERS} tables have been made here")
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

    def drop(self, names: Sequence[str], line: int) -> None:
        """Forget tables, and the ledger of the line that they were for; nothing happens where there are none.

        Their numbers stay taken: who still knows them finds no rows there, and a ghost changes no other table.
        """
        for name in names:
            number = self.numbers.pop(name, None)
            if number is not None:
                self._gone += self.tables[number].clock
                self.tables[number] = Table(DROPPED, self.shard, self.shards)
        ledger = self.ledgers.pop(line, None)
        if ledger is not None:
            ledger.void()  # connections may still hold it

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
        for request in self._framing.requests(message):
            if isinstance(request, Step):
                answer = self._step(connection, request, room)
            else:
                answer = self._answer(connection, request, room)
            room -= len(answer)
            answers.append(answer)
        counters = self.counters
        counters.frames += len(answers)
        counters.received += len(message)
        counters.sent += frames.MAX_MESSAGE - room
        return answers[0] if len(answers) == 1 else b"".join(answers)

    def _answer(self, connection: Connection, request: Open | Read, room: int) -> bytes:
        match request:
            case Open():
                return self._open(connection, request)
            case Read():
                return self._serving.read(request.tables, request.keys, room)

    def _open(self, connection: Connection, request: Open) -> bytes:
        unit, attempt = request
        ledger = self.ledger(unit)
        found = ledger.open(unit % LINE, attempt)
        connection.pulls.clear()
        connection.held = 0
        if isinstance(found, Opened):
            connection.ledger, connection.unit, connection.attempt = ledger, unit % LINE, attempt
            return frames.encode_opened(frames.Opened(Status.APPLIED, unit, found.last, attempt))
        connection.ledger = None
        self.counters.stale += 1
        return frames.encode_opened(frames.Opened(Status.STALE, unit, -1, found.current))

    def _step(self, connection: Connection, request: Step, room: int) -> bytes:
        """Check all of a frame, then let the ledger decide, then apply: after the decision nothing can fail."""
        ledger, pulls = connection.ledger, connection.pulls
        if ledger is None:
            raise WireError("a step before a unit was opened")
        pull = None if request.gradients is None else _oldest(connection, request.tables)
        if request.keys is not None:
            if len(pulls) >= MAX_PULLS + (pull is not None):
                raise WireError(f"more than {MAX_PULLS} open pulls")
            if connection.held > MAX_HELD:
                raise WireError("open pulls of too many rows")
        self._serving.check(request, pull, room)
        status = _NONE if pull is None else self._push(connection, request, pull)
        if request.keys is None or status is _STALE:
            return frames.encode_answer(Answer(status, request.step, self.tables[request.tables[0]].clock, None))
        answer, owed = self._serving.pull(request, status)
        pulls.append(owed)
        connection.held += owed.size
        return answer

    def _push(self, connection: Connection, request: Step, pull: OpenPull) -> Status:
        assert connection.ledger is not None
        assert request.gradients is not None
        verdict = connection.ledger.judge(connection.unit, connection.attempt, request.step)
        if verdict is _GAP:
            raise WireError("a step before this one is missing")
        connection.pulls.popleft()
        connection.held -= pull.size
        counters = self.counters
        if verdict is _APPLY:
            staleness = self._serving.push(pull, request.gradients)
            counters.staleness = max(counters.staleness, staleness)
            counters.applied += 1
            return _APPLIED
        if verdict is _DUPLICATE:
            counters.duplicates += 1
            return _REPEATED
        counters.stale += 1
        return _STALE


def _oldest(connection: Connection, tables: tuple[int, ...]) -> OpenPull:
    """The open pull that a push is for."""
    if not connection.pulls:
        raise WireError("a push without an open pull")
    pull = connection.pulls[0]
    if pull.tables != tables:
        raise WireError("a push to other tables than were pulled from")
    return pull
