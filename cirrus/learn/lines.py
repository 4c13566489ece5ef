"""Whole lines as tables of fields: where each field of each row begins and ends, for many lines at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import BACK, FRONT, Flags, Octets, Tokens, Whole

LINE_END = 10
_RETURN = 13


@dataclass(frozen=True, slots=True)
class Text:
    """Lines in a buffer, each with its line end and without a carriage return before it.

    ``buffer``: uint8, padded at both ends. ``starts``: int64 of shape (lines,), where each line began in the bytes
    that were given.
    """

    buffer: Octets
    starts: Whole

    @staticmethod
    def of(data: bytes) -> Text:
        """Take lines apart; the last may lack its line end, and carriage returns before line ends are dropped."""
        end = b"" if data.endswith(b"\n") or not data else b"\n"
        joined = b"".join((bytes(FRONT), data, end, bytes(BACK)))
        buffer = np.frombuffer(joined, np.uint8)
        breaks = np.flatnonzero(buffer == LINE_END)
        starts = np.empty_like(breaks)
        starts[:1] = 0
        starts[1:] = breaks[:-1] + (1 - FRONT)
        if b"\r" in data and b"\r\n" in joined:  # one byte is looked for 80 times as fast as two
            kept = np.ones(len(buffer), np.bool_)
            kept[breaks[buffer[breaks - 1] == _RETURN] - 1] = False
            buffer = buffer[kept]
        return Text(buffer, starts)

    def filled(self) -> Flags:
        """A flag on each line that is not blank."""
        breaks = np.flatnonzero(self.buffer == LINE_END)
        return breaks > _begins(breaks)


@dataclass(frozen=True, slots=True)
class Table:
    """The fields of the rows that have as many as they should.

    ``marks``: int64 of shape (n, width), where each field ends. ``begins``: int64 of shape (n,), where each row does
    begin. ``rows``: int64 of shape (n,), each row's number among all rows, blank lines not counted. ``lines``: int64 of
    shape (all rows,), each row's line, from 0. ``misfits`` are the rows with another number of fields, ``counts`` says
    how many those have.
    """

    buffer: Octets
    marks: Whole
    begins: Whole
    rows: Whole
    lines: Whole
    misfits: Whole
    counts: Whole

    def field(self, number: int) -> Tokens:
        """The ``number``-th field, from 0, of each row."""
        starts = self.begins if number == 0 else self.marks[:, number - 1] + 1
        return Tokens(self.buffer, starts, self.marks[:, number] - starts)


def marks(buffer: Octets, delimiter: int) -> Whole:
    """Where the delimiters and line ends are."""
    found = buffer == delimiter
    found |= buffer == LINE_END
    return np.flatnonzero(found)


def table(buffer: Octets, places: Whole, width: int, lines: int, filled: Flags | None = None) -> Table:
    """Cut ``lines`` lines at the marks ``places`` into ``width`` fields each.

    ``filled`` flags the lines that are not blank, where the buffer itself does not tell.
    """
    if width > 1 and len(places) == width * lines:
        grid = places.reshape(lines, width)
        breaks = grid[:, -1]
        if (buffer[breaks] == LINE_END).all():
            every = np.arange(lines)
            none = np.empty(0, np.int64)
            return Table(buffer, grid, _begins(breaks), every, every, none, none)
    return _uneven(buffer, places, width, filled)


def _begins(breaks: Whole) -> Whole:
    """Where the lines begin that end there."""
    begins = np.empty_like(breaks)
    begins[:1] = FRONT
    begins[1:] = breaks[:-1] + 1
    return begins


def _uneven(buffer: Octets, places: Whole, width: int, filled: Flags | None) -> Table:
    """The same where lines are blank or have differing numbers of fields."""
    ends = np.flatnonzero(buffer[places] == LINE_END)
    breaks = places[ends]
    begins = _begins(breaks)
    counts = np.diff(ends, prepend=-1)
    filled = breaks > begins if filled is None else filled
    good: Flags = filled & (counts == width)
    grid = places[np.repeat(good, counts)].reshape(-1, width)
    number = np.cumsum(filled) - 1
    wrong = filled & ~good
    return Table(buffer, grid, begins[good], number[good], np.flatnonzero(filled), number[wrong], counts[wrong])
