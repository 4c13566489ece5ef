"""Display-advertising rows in the format of the Criteo challenge: label, integers, categories, tab-separated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import Columns, Doubles, Flags, Parsed, Tokens
from cirrus.learn.faults import Faults, survivors
from cirrus.learn.lines import Table, Text, marks, table
from cirrus.learn.numerals import numbers
from cirrus.learn.rows import Floats
from cirrus.sources import CriteoSource

_TAB = 9


@dataclass(frozen=True, slots=True)
class CriteoParser:
    """Turns whole lines into columns; holds nothing between two calls."""

    source: CriteoSource

    def parse(self, chunk: bytes, first_line: int, name: str) -> Parsed:
        """The rows of whole lines, the first of which is line ``first_line`` of the object ``name``.

        A bad row raises ``InputError`` or is left out, as the source says.
        """
        text = Text.of(chunk)
        width = 1 + len(self.source.integers) + len(self.source.categories)
        cut = table(text.buffer, marks(text.buffer, _TAB), width, len(text.starts))
        faults = Faults(len(cut.lines))
        faults.note(cut.misfits, "", lambda k: f"{cut.counts[k]} tab-separated fields instead of {width}")
        columns = self._columns(cut, faults)
        faults.settle(self.source.on_bad_row, name, lambda row: first_line + int(cut.lines[row]))
        return survivors(columns, cut, faults, text)

    def _columns(self, cut: Table, faults: Faults) -> Columns:
        labels, wrong = _labels(cut.field(0))
        faults.note_tokens(cut, "label", cut.field(0), wrong, "is no label; it must be 0 or 1")
        integers: dict[str, Doubles] = {}
        for number, column in enumerate(self.source.integers, start=1):
            tokens = cut.field(number)
            integers[column], wrong = numbers(tokens, "whole")
            faults.note_tokens(cut, column, tokens, wrong, "is no whole number")
        first = 1 + len(self.source.integers)
        categories = {column: cut.field(first + k) for k, column in enumerate(self.source.categories)}
        return Columns(labels, integers, categories)


def _labels(tokens: Tokens) -> tuple[Floats, Flags]:
    """Labels that are the one character 0 or 1, and a flag on those that are not."""
    digit = tokens.buffer[tokens.starts] - np.uint8(ord("0"))
    return digit.astype(np.float32), (digit > 1) | (tokens.lengths != 1)
