"""The steps of preparation: what is done to the columns of a row before it becomes a sparse vector.

Every row ends as one sparse vector. Columns are numbers or categories:

* ``Bucket`` turns whole numbers into categories, the tokens of the Criteo display-advertising winners.
* ``MinMax`` and ``Standard`` scale numbers by statistics of the training rows.
* ``Hash`` gives every column a place in ``2**bits`` features: a category as the hash of ``name:value`` with value 1, a
  number as the hash of ``name`` with its value. Without it only numbers are allowed, one feature each.

A missing number adds nothing, and with ``Hash`` the token ``name:NA``; a missing category is the token ``name:NA``.
"""

from __future__ import annotations

from dataclasses import dataclass

from cirrus import checks


@dataclass(frozen=True, slots=True)
class MinMax:
    """Scale numbers to [0, 1] by the smallest and largest value among the training rows; ``None``: all of them."""

    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            checks.texts("MinMax.columns", self.columns)


@dataclass(frozen=True, slots=True)
class Standard:
    """Scale numbers to mean 0 and population standard deviation 1 among the training rows; ``None``: all of them."""

    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            checks.texts("Standard.columns", self.columns)


@dataclass(frozen=True, slots=True)
class Bucket:
    """Turn whole numbers into categories; ``None``: all number columns.

    ``v`` becomes ``v`` itself where ``v <= 2``, else ``L<floor(ln(v)^2)>``; missing becomes ``NA``. A fraction is
    rounded down first.
    """

    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.columns is not None:
            checks.texts("Bucket.columns", self.columns)


@dataclass(frozen=True, slots=True)
class Hash:
    """Hash columns into ``2**bits`` features with MurmurHash3 (x86, 32 bits, seed 0) of ``name:value``.

    ``signed=True`` lets the hash's sign bit decide between +1 and -1, so that collisions cancel on average
    (Weinberger et al., 2009); the default counts.
    """

    bits: int
    signed: bool = False

    def __post_init__(self) -> None:
        checks.integer("Hash.bits", self.bits, 1, 30)
        checks.one_of("Hash.signed", self.signed, (True, False))


Step = MinMax | Standard | Bucket | Hash


@dataclass(frozen=True, slots=True)
class Every:
    """Rows whose number modulo ``count`` equals ``at`` are test rows; rows are numbered from 0 in input order."""

    count: int
    at: int = 0

    def __post_init__(self) -> None:
        checks.integer("every.count", self.count, 2, 1_000_000)
        checks.integer("every.at", self.at, 0, self.count - 1)


def every(count: int, *, at: int = 0) -> Every:
    """Take each ``count``-th row as a test row, beginning with row ``at``."""
    return Every(count, at)
