"""Comma-separated rows with a label column; fields may be quoted after RFC 4180, within one line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.errors import PipelineError
from cirrus.learn.columns import Columns, Doubles, Flags, Parsed, Tokens, Whole, words
from cirrus.learn.faults import Faults, survivors
from cirrus.learn.lines import Table, Text, marks, table
from cirrus.learn.numerals import numbers
from cirrus.learn.quotes import OPEN, STRAY, unquote
from cirrus.learn.rows import Floats
from cirrus.sources import CsvSource

_NO_NUMBER = "is no number; correct it, or declare it as a category"
_NO_LABEL = "is no label; it must be 0 or 1, or -1 or 1, or positive= must say which text counts as 1"


@dataclass(frozen=True, slots=True)
class CsvParser:
    """Turns whole lines without the header into columns; holds nothing between two calls.

    The source must be definite: with ``names`` and ``columns`` as ``cirrus.learn.layouts.layout`` gives them.
    """

    source: CsvSource

    def __post_init__(self) -> None:
        if self.source.names is None or self.source.columns is None:
            raise PipelineError("data", self.source, "a source whose columns are known")

    def parse(self, chunk: bytes, first_line: int, name: str) -> Parsed:
        """The rows of whole lines, the first of which is line ``first_line`` of the object ``name``.

        A bad row raises ``InputError`` or is left out, as the source says.
        """
        text = Text.of(chunk)
        places = marks(text.buffer, ord(self.source.delimiter))
        names = self.source.names or ()
        if b'"' in chunk:
            bare = unquote(text.buffer, places)
            cut = table(bare.buffer, bare.places, len(names), len(text.starts), text.filled())
            faults = Faults(len(cut.lines))
            faults.note(_rows(cut, bare.open_lines), "", lambda _: OPEN)
            faults.note(_rows(cut, bare.stray_lines), "", lambda _: STRAY)
        else:
            cut = table(text.buffer, places, len(names), len(text.starts))
            faults = Faults(len(cut.lines))
        faults.note(cut.misfits, "", lambda k: f"{cut.counts[k]} fields instead of {len(names)}")
        columns = self._columns(cut, faults)
        faults.settle(self.source.on_bad_row, name, lambda row: first_line + int(cut.lines[row]))
        return survivors(columns, cut, faults, text)

    def _columns(self, cut: Table, faults: Faults) -> Columns:
        names = self.source.names or ()
        figures: dict[str, Doubles] = {}
        categories: dict[str, Tokens] = {}
        label = cut.field(names.index(self.source.label))
        labels, wrong = self._labels(label)
        faults.note_tokens(cut, self.source.label, label, wrong, _NO_LABEL)
        for column, kind in (self.source.columns or {}).items():
            tokens = cut.field(names.index(column))
            if kind == "category":
                categories[column] = tokens
                continue
            figures[column], wrong = numbers(tokens)
            faults.note_tokens(cut, column, tokens, wrong, _NO_NUMBER)
        return Columns(labels, figures, categories)

    def _labels(self, tokens: Tokens) -> tuple[Floats, Flags]:
        if self.source.positive is not None:
            return equal(tokens, self.source.positive.encode()).astype(np.float32), tokens.lengths == 0
        return binary(tokens)


def binary(tokens: Tokens) -> tuple[Floats, Flags]:
    """Labels that are the numbers 0 or 1, or -1 or 1, and a flag on those that are not."""
    value, _ = numbers(tokens)
    positive: Flags = value == 1
    return positive.astype(np.float32), ~(positive | (value == 0) | (value == -1))


def equal(tokens: Tokens, wanted: bytes) -> Flags:
    """Which tokens are exactly those bytes."""
    same: Flags = tokens.lengths == len(wanted)
    view = words(tokens.buffer)
    for offset in range(0, len(wanted), 8):
        piece = wanted[offset : offset + 8]
        mask = np.uint64((1 << 8 * len(piece)) - 1)
        where = np.minimum(tokens.starts + offset, len(view) - 1)
        same &= (view[where] & mask) == np.uint64(int.from_bytes(piece, "little"))
    return same


def _rows(cut: Table, lines: Whole) -> Whole:
    """The numbers of the rows that stand in those lines."""
    return np.searchsorted(cut.lines, lines)
