"""Whether compiled loops do the work, or numpy: the one place where that is decided.

The package is whole without them: each has a twin in ``cirrus.learn`` or ``cirrus.wire`` that gives the same numbers,
as far as float32 is precise. They are left out where there was no compiler, and they rest in processes whose
environment says ``CIRRUS_NATIVE=0``, which is asked when a table or the kernel of a model is made.
"""

from __future__ import annotations

import os
from enum import IntEnum
from importlib import import_module
from typing import Any, Protocol, TypeVar, cast

from numpy.typing import NDArray

SWITCH = "CIRRUS_NATIVE"

Array = NDArray[Any]
F = TypeVar("F")


class Part(Protocol):
    """A shard's part of a table. Row numbers are uint32 or 64-bit; lists are contiguous float32, a row for each."""

    def pull(self, local: Array, out: Array, clock: int, /) -> None:
        """Write the rows' values to ``out``, after settling what they owe in penalties."""
        ...

    def read(self, local: Array, out: Array, clock: int, /) -> None:
        """Write the rows' values to ``out``, and nothing else."""
        ...

    def push(self, local: Array, gradient: Array, pulled: Array | None, clock: int, /) -> None:
        """Apply a gradient, damped by what has moved since the pull where that is given."""
        ...

    def fit(self, gradient: Array | None, owed: int, keys: Array | None, most: float, room: int, /) -> int:
        """What is wrong with a step's spans: a name of ``Misfit``, or 0.

        ``owed``: for how many rows the gradient is; ``most``: its largest allowed magnitude; ``room``: for the answer.
        """
        ...

    def answer(self, keys: Array, table: int, status: int, step: int, clock: int, /) -> tuple[bytes, Array]:
        """A ROWS frame with those rows, pulled, and a span of them in it."""
        ...


class Misfit(IntEnum):
    """What may be wrong with a step for a table."""

    SHAPE = 1
    INSANE = 2
    DISORDER = 3
    TOO_MANY = 4


class Marks(Protocol):
    """A mark for each of a number of features."""

    def distinct(self, indices: Array, keys: Array, places: Array, /) -> int:
        """Write the distinct ``indices``, ascending, to ``keys``, and each one's place; says how many there are."""
        ...

    def minibatches(
        self, indices: Array, cuts: Array, last: int, keys: Array, places: Array, ends: Array, /
    ) -> None:
        """The same for each of the minibatches between two ``cuts``, with ``last`` behind its keys.

        Says in ``ends`` where each one's keys end; places are those within its own keys.
        """
        ...


class Kernels(Protocol):
    """What is compiled. All arrays are contiguous; what does not fit together is a ``ValueError``."""

    def part(
        self, kind: int, width: int, settings: tuple[float, ...], arrays: tuple[Array, ...], touched: Array | None, /
    ) -> Part:
        """Work on those arrays, which stay numpy's; ``kind`` and ``settings`` as in ``cirrus.learn.compiled``."""
        ...

    def marks(self, features: int, /) -> Marks:
        """Marks for so many features."""
        ...

    def ascends(self, keys: Array, limit: int, /) -> bool:
        """Whether uint32 keys ascend strictly and stay below ``limit``."""
        ...

    def sane(self, numbers: Array, most: float, /) -> bool:
        """Whether no float32 number is NaN or larger than ``most`` in magnitude."""
        ...

    def logistic(
        self, labels: Array, indptr: Array, places: Array, values: Array | None, weights: Array, gradient: Array, /
    ) -> float:
        """The sum of the rows' log losses; writes the gradient of their mean. The last weight is the intercept."""
        ...

    def take_lines(  # noqa: PLR0913, PLR0917  three arrays in, three out, and an order
        self,
        order: Array,
        indptr: Array,
        indices: Array,
        values: Array | None,
        new_indptr: Array,
        new_indices: Array,
        new_values: Array | None,
        /,
    ) -> int:
        """Copy a sparse matrix's lines in that order; says how many values they have."""
        ...

    def read_step(self, kind: type[F], message: bytes, begin: int, /) -> tuple[int, F] | None:
        """The end of a STEP frame about one table, and its fields as that named tuple; ``None`` for all else.

        Its gradients and keys are spans: lists in the message, which are good for compiled loops only.
        """
        ...

    def write_step(self, step: int, table: int, width: int, gradient: Array | None, keys: Array | None, /) -> bytes:
        """A STEP frame about one table."""
        ...

    def read_answer(self, message: bytes, begin: int, /) -> tuple[int, int, int, int, int, int, int] | None:
        """Of a ROWS frame about one table: end, status, step, clock, rows, width, where these begin."""
        ...


def _built() -> Kernels | None:
    try:
        return cast("Kernels", import_module("cirrus.native._kernels"))
    except ImportError:
        return None


_KERNELS = _built()


def kernels() -> Kernels | None:
    """The compiled loops, or ``None`` where numpy is to do their work."""
    return None if os.environ.get(SWITCH) == "0" else _KERNELS
