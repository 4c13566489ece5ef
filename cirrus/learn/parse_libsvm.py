"""Sparse rows in the format of LIBSVM: ``label id:value id:value ...``, comments after ``#``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import Doubles, Flags, Octets, Parsed, Tokens, Whole
from cirrus.learn.faults import Faults, shown
from cirrus.learn.lines import LINE_END, Text
from cirrus.learn.numerals import numbers
from cirrus.learn.parse_csv import binary
from cirrus.learn.rows import Rows
from cirrus.sources import LibsvmSource

_COLON, _HASH, _SPACE = ord(":"), ord("#"), ord(" ")
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class LibsvmParser:
    """Turns whole lines into sparse rows, feature ``k`` of the file at index ``k - 1``."""

    source: LibsvmSource

    def parse(self, chunk: bytes, first_line: int, name: str) -> Parsed:
        """The rows of whole lines, the first of which is line ``first_line`` of the object ``name``.

        A bad row raises ``InputError`` or is left out, as the source says.
        """
        text = Text.of(chunk)
        buffer = _uncommented(text.buffer) if b"#" in chunk else text.buffer
        tokens, line = _tokens(buffer)
        first = np.diff(line, prepend=-1) > 0
        lines = line[first]
        row = np.cumsum(first) - 1
        faults = Faults(len(lines))
        labels, wrong = binary(tokens.take(first))
        where = np.flatnonzero(wrong)
        label = tokens.take(first)
        faults.note(where, "", lambda k: f"{shown(label, int(where[k]))} is no label; it must be 0 or 1, or -1 or 1")
        pairs, row = tokens.take(~first), row[~first]
        ids, values = self._pairs(pairs, row, faults)
        faults.settle(self.source.on_bad_row, name, lambda number: first_line + int(lines[number]))
        good = ~faults.bad
        if not good.all():
            kept = good[row]
            ids, values, row = ids[kept], values[kept], row[kept]
        indptr = np.zeros(int(good.sum()) + 1, np.int64)
        np.cumsum(np.bincount(row, minlength=len(lines))[good], out=indptr[1:])
        ones = bool((values == 1).all())
        indices = (ids - 1).astype(np.uint32)
        rows = Rows(labels[good], indptr, indices, None if ones else values.astype(np.float32))
        return Parsed(rows, np.flatnonzero(good), text.starts[lines[good]], len(lines), len(text.starts))

    def _pairs(self, pairs: Tokens, row: Whole, faults: Faults) -> tuple[Whole, Doubles]:
        """Ids and values; what is wrong with a pair makes its row bad."""
        colons = np.flatnonzero(pairs.buffer == _COLON)
        colons = np.append(colons, len(pairs.buffer) - 1)
        colon = colons[np.searchsorted(colons, pairs.starts)]
        stops = pairs.starts + pairs.lengths
        broken = (colon >= stops - 1) | (colon == pairs.starts)
        colon = np.where(broken, stops - 1, colon)
        ids, wrong = numbers(Tokens(pairs.buffer, pairs.starts, colon - pairs.starts), "whole")
        _note(faults, row, pairs, broken | wrong, "is not of the form id:value")
        values, wrong = numbers(Tokens(pairs.buffer, colon + 1, np.where(broken, 0, stops - colon - 1)))
        _note(faults, row, pairs, wrong, "has no number as its value")
        ids = np.nan_to_num(ids)
        most = self.source.features or _MOST
        _note(faults, row, pairs, (ids < 1) | (ids > most), f"has an id outside 1 to {most}")
        number = np.clip(ids, 1, _MOST).astype(np.int64)
        falling = np.zeros(len(number), np.bool_)
        falling[1:] = (number[1:] <= number[:-1]) & (row[1:] == row[:-1])
        _note(faults, row, pairs, falling, "comes after an equal or a larger id; ids must ascend")
        return number, values


def _note(faults: Faults, row: Whole, pairs: Tokens, wrong: Flags, problem: str) -> None:
    where = np.flatnonzero(wrong)
    faults.note(row[where], "", lambda k: f"{shown(pairs, int(where[k]))} {problem}")


def _tokens(buffer: Octets) -> tuple[Tokens, Whole]:
    """The tokens between blanks, and the line of each, from 0."""
    solid = buffer > _SPACE
    edges = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    starts, stops = edges[0::2], edges[1::2]
    breaks = np.flatnonzero(buffer == LINE_END)
    return Tokens(buffer, starts, stops - starts), np.searchsorted(breaks, starts)


def _uncommented(buffer: Octets) -> Octets:
    """The same with blanks from each ``#`` to the end of its line."""
    breaks = np.flatnonzero(buffer == LINE_END)
    hashes = np.flatnonzero(buffer == _HASH)
    line = np.searchsorted(breaks, hashes)
    first = np.diff(line, prepend=-1) > 0
    change = np.zeros(len(buffer), np.int8)
    change[hashes[first]] = 1
    change[breaks[line[first]]] = -1
    return np.where(np.cumsum(change, dtype=np.int8) > 0, np.uint8(_SPACE), buffer)
