"""One shard's part of a table: rows are pulled, pushed to, and saved; every push is one step of the table's clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cirrus.core.placement import local_row, rows_on, shard_of
from cirrus.errors import Corrupt
from cirrus.learn.base import TableSpec
from cirrus.learn.compiled import part_of
from cirrus.learn.optimizers import rule
from cirrus.learn.past import Marks, Past
from cirrus.learn.penalties import Penalty
from cirrus.learn.rows import Floats, Keys
from cirrus.learn.rules import Array, Local, Weighted

AT_ONCE: Final = 1 << 18
"""Rows whose penalties are settled together where all are read; bounds the memory that this takes beside the rows."""


class Table:
    """The rows ``key`` of a table with ``key % shards == shard``, each at local row ``key // shards``.

    ``local`` below is intp (or uint32, see ``local``), strictly ascending, within the part; values and gradients are
    contiguous float32 of shape (len(local), width). Nothing of that is checked here: the border has done so.
    ``part`` is the compiled code that does the work here, if any does; whoever has it pull rows calls ``note`` before.
    ``past`` is what the table was when somebody began to copy it, and ``None`` where nobody does.
    """

    def __init__(self, spec: TableSpec, shard: int, shards: int) -> None:
        self.spec = spec
        rows = rows_on(shard, spec.rows, shards)
        free = spec.free
        here = None if free is None or shard_of(free, shards) != shard else local_row(free, shards)
        self._rule = rule(spec, (rows,) if spec.width == 1 else (rows, spec.width), here)
        self._penalty: Penalty | None = None
        if (spec.l2 or spec.l1) and isinstance(self._rule, Weighted):  # the others know their penalties themselves
            self._penalty = Penalty(self._rule, spec.l2, spec.l1, here)
        touched = None if self._penalty is None else self._penalty.touched
        self.part = part_of(self._rule, spec, here, touched)
        self.past: Past | None = None
        self._marks = Marks(rows)

    @property
    def clock(self) -> int:
        """Steps applied, those without a row here included."""
        return self._rule.clock

    @property
    def rows(self) -> int:
        """How many rows this part has."""
        return self._rule.shape[0]

    @property
    def damps(self) -> bool:
        """Whether ``push`` makes use of what was pulled."""
        return self.spec.stale == "damp"

    @property
    def nbytes(self) -> int:
        """Bytes of weights and state."""
        return sum(array.nbytes for array in self._arrays().values())

    def local(self, keys: Keys) -> Local:
        """Row numbers as they came in the type that is fastest here: numpy likes intp, compiled loops take uint32."""
        return keys.astype(np.intp) if self.part is None else keys

    def pull(self, local: Local, out: Floats | None = None) -> Floats:
        """The current values, in ``out`` or a new array; what these rows owe in penalties is written."""
        out = self._room(local) if out is None else out
        if self.past is not None:
            self.note(local)
        if self.part is not None:
            self.part.pull(local, out, self._rule.clock)
        else:
            values = self._rule.values(local) if self._penalty is None else self._penalty.settle(local)
            out[...] = values.reshape(out.shape)
        return out

    def push(self, local: Local, gradient: Floats, pulled: Floats | None = None) -> None:
        """Apply one step, and advance the clock.

        ``pulled`` is what ``pull`` gave for the gradient: where the table ``damps``, the step counts less the more of
        it other steps have done in between (``cirrus.learn.staleness``). ``None`` applies it in full.
        """
        seen = pulled if self.damps else None
        if self.past is not None:
            self.past.note(local)
        if self.part is not None:
            self.part.push(local, gradient, seen, self._rule.clock)
        else:
            self._push(local, gradient, seen)
        self._rule.clock += 1

    def _push(self, local: Local, gradient: Floats, seen: Floats | None) -> None:
        if self._penalty is not None:
            self._penalty.settle(local)
        if len(local):
            shape = (len(local), *self._rule.shape[1:])
            self._rule.step(local, gradient.reshape(shape), None if seen is None else seen.reshape(shape))

    def note(self, local: Local) -> None:
        """Keep for the past, if there is one, the rows that a pull of them changes: those that may owe penalties."""
        if self.past is not None and self._penalty is not None:
            self.past.note(local)

    def remember(self) -> Past:
        """Begin to keep what the table is now, so that it can be copied while it changes, until ``forget``."""
        assert self.past is None, "one copy at a time"
        self.past = Past(self._arrays(), self._marks)
        return self.past

    def forget(self) -> None:
        """The table has been copied: keep nothing more. What was kept is in the past that ``remember`` gave."""
        self.past = None

    def tick(self) -> None:
        """Advance the clock by a step that has no rows on this shard; the same as a push of none."""
        self._rule.clock += 1

    def read(self, local: Local, out: Floats | None = None) -> Floats:
        """The same values as ``pull``, without writing anything to the table."""
        out = self._room(local) if out is None else out
        if self.part is not None:
            self.part.read(local, out, self._rule.clock)
        else:
            values = self._rule.values(local) if self._penalty is None else self._penalty.settled(local)
            out[...] = values.reshape(out.shape)
        return out

    def weights(self) -> Floats:
        """The values of all rows, as a new array."""
        whole = np.empty((self.rows, self.spec.width), np.float32)
        for start in range(0, self.rows, AT_ONCE):
            stop = min(start + AT_ONCE, self.rows)
            self.read(np.arange(start, stop, dtype=np.intp), whole[start:stop])
        return whole

    def arrays(self) -> dict[str, Array]:
        """Copies of weights and state by name: with ``clock``, all that ``restore`` needs."""
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, arrays: Mapping[str, NDArray[np.generic]], clock: int) -> None:
        """Become the table that was saved; ``Corrupt`` where the arrays are not a table's of this description."""
        mine = self._arrays()
        if arrays.keys() != mine.keys() or clock < 0:
            raise Corrupt(self.spec.name, f"arrays {sorted(arrays)} at clock {clock} instead of {sorted(mine)}")
        for name, array in mine.items():
            if arrays[name].shape != array.shape or arrays[name].dtype != array.dtype:
                raise Corrupt(self.spec.name, f"array {name!r} has another shape or type than the table's")
        for name, array in mine.items():
            array[...] = arrays[name]
        self._rule.clock = clock

    def _room(self, local: Local) -> Floats:
        return np.empty((len(local), self.spec.width), np.float32)

    def _arrays(self) -> dict[str, Array]:
        arrays = self._rule.arrays()
        if self._penalty is not None:
            arrays["touched"] = self._penalty.touched
        return arrays
