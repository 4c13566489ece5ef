"""The port to models: what a kernel declares and computes, whoever wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from cirrus import checks
from cirrus.learn.rows import Floats, Keys, Rows
from cirrus.optimizers import Optimizer


@dataclass(frozen=True, slots=True)
class TableSpec:
    """A float32 matrix of the model, ``rows`` x ``width``, sharded by row and updated by ``optimizer``.

    ``l2`` and ``l1`` are penalties per step on every row but ``free`` (an intercept; ``None``: no such row). ``stale``
    says what becomes of a gradient that was computed on weights which have changed since: ``apply`` takes it as it is,
    ``damp`` takes what of it is still news, so that hundreds of steps may be in flight (``cirrus.learn.staleness``).
    """

    name: str
    rows: int
    width: int
    optimizer: Optimizer
    l2: float = 0.0
    l1: float = 0.0
    free: int | None = None
    stale: Literal["apply", "damp"] = "apply"

    def __post_init__(self) -> None:
        checks.one_of("table.stale", self.stale, ("apply", "damp"))


@dataclass(frozen=True, slots=True)
class Batch:
    """A minibatch made ready: which rows of each table it needs, and its data with local numbers.

    ``keys[t]``: uint32, strictly ascending, the rows of table ``t``. ``rows``: the minibatch; ``rows.indices`` count
    within ``keys`` as the kernel likes. ``number`` is the minibatch's number in the data set, the same in each epoch.
    """

    keys: tuple[Keys, ...]
    rows: Rows
    number: int


@dataclass(frozen=True, slots=True)
class Gradient:
    """``tables[t]``: float32 of shape (len(keys[t]), width), the mean gradient of the loss; ``loss``: sum over rows."""

    tables: tuple[Floats, ...]
    loss: float


class Kernel(Protocol):
    """A model's arithmetic. Kernels hold no weights and are made as ``Kernel(spec, features, optimizer)``.

    Derive yours from this class: ``batches`` is then there already, and worth replacing only where something can be
    done once for a block that would else be done for each of its minibatches.
    """

    def tables(self) -> tuple[TableSpec, ...]:
        """The matrices that the model consists of, the same on every call."""
        ...

    def batch(self, rows: Rows, number: int) -> Batch:
        """Find the table rows that a minibatch needs; a pure function."""
        ...

    def batches(self, rows: Rows, size: int, first: int = 0, number: int = 0) -> Iterator[Batch]:
        """The block's minibatches of ``size`` rows (the last may be smaller), each made when it is asked for.

        The ``k``-th, counted from 0, has number ``number + k`` and equals ``batch`` of its rows; begins with ``first``.
        """
        for step in range(first, -(-len(rows) // size)):
            yield self.batch(rows.slice(step * size, min((step + 1) * size, len(rows))), number + step)

    def gradient(self, batch: Batch, tables: tuple[Floats, ...]) -> Gradient:
        """The loss and its mean gradient; ``tables[t]`` has shape (len(keys[t]), width)."""
        ...

    def scores(self, batch: Batch, tables: tuple[Floats, ...]) -> Floats:
        """The model's decision value for each row, shape (n,)."""
        ...
