"""What parsing yields: labelled columns of numbers and of byte strings, and which lines they came from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.rows import Floats, Rows

Octets = NDArray[np.uint8]
Whole = NDArray[np.int64]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]
Words = NDArray[np.uint64]

FRONT = 16
"""Bytes that a buffer has before its first token, so that words may be read from before it."""
BACK = 16
"""Bytes that a buffer has after its last token, so that words may be read from beyond it."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """``n`` byte strings within one buffer; length 0 means missing.

    ``buffer``: uint8, with ``FRONT`` bytes before and ``BACK`` bytes after all tokens. ``starts``, ``lengths``: int64
    of shape (n,), in bytes.
    """

    buffer: Octets
    starts: Whole
    lengths: Whole

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, number: int) -> bytes:
        """One token as bytes."""
        start = int(self.starts[number])
        return self.buffer[start : start + int(self.lengths[number])].tobytes()

    def take(self, which: Whole | Flags | slice) -> Tokens:
        """Those of the tokens, in the same buffer."""
        return Tokens(self.buffer, self.starts[which], self.lengths[which])

    @staticmethod
    def of(texts: list[bytes]) -> Tokens:
        """Tokens from byte strings; for a few of them, not for the inside of a loop."""
        lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
        starts = FRONT + np.cumsum(lengths) - lengths
        return Tokens(np.frombuffer(b"".join((bytes(FRONT), *texts, bytes(BACK))), np.uint8), starts, lengths)


def words(buffer: Octets) -> Words:
    """The eight bytes from every place in the buffer on, as overlapping little-endian numbers, without a copy."""
    return np.ndarray((len(buffer) - 7,), np.dtype("<u8"), buffer, strides=(1,))


@dataclass(frozen=True, slots=True)
class Columns:
    """``n`` rows by column: ``labels`` 0 or 1; numbers as float64 with NaN where missing; categories as tokens."""

    labels: Floats
    numbers: dict[str, Doubles]
    categories: dict[str, Tokens]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: Whole | Flags) -> Columns:
        """Those of the rows."""
        numbers = {name: column[which] for name, column in self.numbers.items()}
        categories = {name: column.take(which) for name, column in self.categories.items()}
        return Columns(self.labels[which], numbers, categories)


@dataclass(frozen=True, slots=True)
class Parsed:
    """The rows of a chunk of whole lines.

    ``content``: the good rows, as columns, or as sparse rows where the file holds such. ``positions``: int64 of shape
    (n,), each good row's number among all rows of the chunk, bad ones counted, blank lines not. ``offsets``: int64 of
    shape (n,), where each good row's line begins, in bytes from the start of the chunk. ``rows``: all rows of the
    chunk, bad ones included. ``lines``: all its lines, blank ones and comments included.
    """

    content: Columns | Rows
    positions: Whole
    offsets: Whole
    rows: int
    lines: int

    @property
    def skipped(self) -> int:
        """The number of bad rows, which are not in ``content``."""
        return self.rows - len(self.positions)
