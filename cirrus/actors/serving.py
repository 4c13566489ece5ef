"""What a shard does to its tables for a frame, once it may: check what came, apply gradients, hand out rows.

``Serving`` does it for any number of tables, with arrays; ``CompiledServing`` does steps about one table with spans.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cirrus.errors import WireError
from cirrus.learn.rows import Floats, Keys
from cirrus.learn.rules import Local
from cirrus.learn.tables import Table
from cirrus.native.choice import Misfit, Part, kernels
from cirrus.wire import frames
from cirrus.wire.frames import Status, Step

MAX_GRADIENT = 1e6
"""No honest gradient of a mean loss is larger in magnitude; what is has gone astray and must not reach the weights."""

_SURELY_SANE = MAX_GRADIENT**2  # a sum of squares up to this has no larger gradient in it
_HEAD = 72
_MISFITS = {
    Misfit.SHAPE: "a gradient of another shape than the rows that were pulled",
    Misfit.INSANE: "a gradient that is not finite or too large",
    Misfit.DISORDER: "rows that do not ascend strictly, or are beyond their table",
    Misfit.TOO_MANY: "more rows than fit in an answer",
}


@dataclass(slots=True)
class OpenPull:
    """Rows that a worker has and whose gradient it owes: tables, local rows in each, their clocks then.

    ``values`` are the rows as they were pulled, where the push makes use of them. ``size``: bytes that all this takes.
    """

    tables: tuple[int, ...]
    rows: tuple[Local, ...]
    clocks: tuple[int, ...]
    values: tuple[Floats | None, ...]
    size: int


class Serving:
    """Works on ``tables``, to which more may be added; changes nothing before ``check`` has found all to be right."""

    def __init__(self, tables: list[Table]) -> None:
        self._tables = tables

    def check(self, request: Step, pull: OpenPull | None, room: int) -> None:
        """``WireError`` unless gradients fit ``pull``, and rows exist and fit in an answer of ``room`` bytes."""
        _, numbers, gradients, keys = request
        tables = self._known(numbers)
        for at, gradient in enumerate(gradients or ()):
            if pull is None or gradient.shape != (len(pull.rows[at]), tables[at].spec.width):
                raise _wrong(Misfit.SHAPE)
            if not _sane(gradient):
                raise _wrong(Misfit.INSANE)
        if keys is not None:
            self._check_rows(tables, keys, room)

    def push(self, pull: OpenPull, gradients: Sequence[Floats]) -> int:
        """Apply gradients; returns the largest number of steps that the tables have seen since the pull."""
        staleness = 0
        for at, number in enumerate(pull.tables):
            table = self._tables[number]
            staleness = max(staleness, table.clock - pull.clocks[at])
            table.push(pull.rows[at], gradients[at], pull.values[at])
        return staleness

    def pull(self, request: Step, status: Status) -> tuple[bytes, OpenPull]:
        """The answer with the rows that a checked step asks for, and what its worker owes from now on."""
        step, numbers, _, keys = request
        tables = self._known(numbers)
        rows = [table.local(local) for table, local in zip(tables, keys or (), strict=True)]
        message, places = frames.blank_answer(numbers, _shapes(tables, rows))
        for table, local, place in zip(tables, rows, places, strict=True):
            table.pull(local, place)
        kept = [place if table.damps else None for table, place in zip(tables, places, strict=True)]
        size = sum([one.nbytes for one in (*rows, *places)])
        clocks = tuple([table.clock for table in tables])
        answer = frames.seal_answer(message, status, step, clocks[0])
        return answer, OpenPull(numbers, tuple(rows), clocks, tuple(kept), size)

    def read(self, numbers: tuple[int, ...], keys: tuple[Keys, ...], room: int) -> bytes:
        """The answer with rows for looking at them only; ``WireError`` as ``check``."""
        tables = self._known(numbers)
        self._check_rows(tables, keys, room)
        rows = [table.local(local) for table, local in zip(tables, keys, strict=True)]
        message, places = frames.blank_answer(numbers, _shapes(tables, rows))
        for table, local, place in zip(tables, rows, places, strict=True):
            table.read(local, place)
        return frames.seal_answer(message, Status.NONE, 0, tables[0].clock)

    def _known(self, numbers: tuple[int, ...]) -> list[Table]:
        try:
            return [self._tables[number] for number in numbers]
        except IndexError:
            raise WireError("no table of that number") from None

    def _check_rows(self, tables: list[Table], keys: tuple[Keys, ...], room: int) -> None:
        for table, local in zip(tables, keys, strict=True):
            if not _ascends(local, table.rows):
                raise _wrong(Misfit.DISORDER)
        if _HEAD * len(tables) + sum([4 * rows * width for rows, width in _shapes(tables, keys)]) > room:
            raise _wrong(Misfit.TOO_MANY)


class CompiledServing(Serving):
    """Does steps about one table, which then have spans, by compiled code, and leaves the others as they are."""

    def check(self, request: Step, pull: OpenPull | None, room: int) -> None:
        _, numbers, gradients, keys = request
        part = self._part(numbers)
        if part is None:
            super().check(request, pull, room)
            return
        owed = 0 if pull is None else len(pull.rows[0])
        gradient = None if gradients is None else gradients[0]
        misfit = part.fit(gradient, owed, None if keys is None else keys[0], MAX_GRADIENT, room)
        if misfit:
            raise _wrong(misfit)

    def pull(self, request: Step, status: Status) -> tuple[bytes, OpenPull]:
        step, numbers, _, keys = request
        part = self._part(numbers)
        if part is None or keys is None:
            return super().pull(request, status)
        table, local = self._tables[numbers[0]], keys[0]
        clock = table.clock
        if table.past is not None:
            table.note(local)
        answer, values = part.answer(local, numbers[0], status, step, clock)
        size = local.nbytes + values.nbytes
        return answer, OpenPull(numbers, keys, (clock,), (values if table.damps else None,), size)

    def _part(self, numbers: tuple[int, ...]) -> Part | None:
        if len(numbers) > 1:
            return None
        try:
            return self._tables[numbers[0]].part
        except IndexError:
            raise WireError("no table of that number") from None


def serving(tables: list[Table]) -> Serving:
    """What works on those tables here."""
    return Serving(tables) if kernels() is None else CompiledServing(tables)


def _wrong(misfit: int) -> WireError:
    return WireError(_MISFITS[Misfit(misfit)])


def _shapes(tables: list[Table], rows: Sequence[Local]) -> list[tuple[int, int]]:
    return [(len(local), table.spec.width) for table, local in zip(tables, rows, strict=True)]


def _sane(gradient: Floats) -> bool:
    """Whether all is finite and of a sane magnitude, which one dot product shows of nearly all gradients."""
    return float(np.vdot(gradient, gradient)) <= _SURELY_SANE or bool(np.all(np.abs(gradient) <= MAX_GRADIENT))


def _ascends(local: Keys, limit: int) -> bool:
    """Whether rows ascend strictly and are below the limit."""
    count = len(local)
    return not count or (local.item(-1) < limit and bool(np.count_nonzero(local[1:] > local[:-1]) == count - 1))
