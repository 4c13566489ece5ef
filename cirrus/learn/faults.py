"""Bad rows: which there are, and what is said about the first of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cirrus.errors import InputError
from cirrus.learn.columns import Columns, Flags, Parsed, Tokens, Whole
from cirrus.learn.lines import Table, Text
from cirrus.sources import OnBadRow

_SHOWN = 40


class Faults:
    """Collects the bad rows of one chunk; ``settle`` then raises the first of them or lets them be skipped."""

    def __init__(self, rows: int) -> None:
        """Begin with all of the chunk's ``rows`` rows good."""
        self.bad: Flags = np.zeros(rows, np.bool_)
        self._first = rows
        self._column = ""
        self._problem = ""

    def note(self, rows: Whole, column: str, problem: Callable[[int], str]) -> None:
        """Mark rows as bad; ``problem(k)`` says what is wrong with ``rows[k]``, and is asked for the first alone."""
        if not len(rows):
            return
        self.bad[rows] = True
        where = int(np.argmin(rows))
        if rows[where] < self._first:
            self._first, self._column, self._problem = int(rows[where]), column, problem(where)

    def note_tokens(self, cut: Table, column: str, tokens: Tokens, wrong: Flags, problem: str) -> None:
        """Mark the table's rows where ``wrong`` is set as bad; the message shows the token before ``problem``."""
        where = np.flatnonzero(wrong)
        self.note(cut.rows[where], column, lambda k: f"{shown(tokens, int(where[k]))} {problem}")

    def settle(self, on_bad_row: OnBadRow, name: str, lines: Callable[[int], int]) -> None:
        """With ``fail``, raise ``InputError`` for the first bad row, whose line ``lines(row)`` gives."""
        if on_bad_row == "fail" and self._first < len(self.bad):
            raise InputError(name, self._problem, lines(self._first), self._column)


def survivors(columns: Columns, cut: Table, faults: Faults, text: Text) -> Parsed:
    """The good rows of a table, with where they stood."""
    positions = cut.rows
    if faults.bad.any():
        good = ~faults.bad[positions]
        columns, positions = columns.take(good), positions[good]
    return Parsed(columns, positions, text.starts[cut.lines[positions]], len(cut.lines), len(text.starts))


def shown(tokens: Tokens, number: int) -> str:
    """A token as people may read it: quoted, shortened, and safe to print whatever its bytes are."""
    token = tokens[number]
    text = token[:_SHOWN].decode("utf-8", "backslashreplace")
    return repr(text) + ("..." if len(token) > _SHOWN else "")
