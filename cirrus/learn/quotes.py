"""Quoted fields after RFC 4180, within one line: taken off before the fields are cut, for many lines at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.columns import FRONT, Flags, Octets, Whole
from cirrus.learn.lines import LINE_END

_QUOTE = ord('"')
OPEN = "a quoted field runs over the end of the line; such fields are not supported"
STRAY = 'a quote stands where none may; quote the whole field, and write a quote inside it as ""'


@dataclass(frozen=True, slots=True)
class Unquoted:
    """A buffer without its quotes, the marks in it, and the lines that are wrong."""

    buffer: Octets
    places: Whole
    open_lines: Whole
    stray_lines: Whole


def unquote(buffer: Octets, places: Whole) -> Unquoted:
    """Take the quotes off. ``places`` are the delimiters and line ends, those inside quotes included.

    A delimiter is inside quotes where an odd number of quotes stands before it in its line. Of a field's quotes the
    first and the last must be its ends, and those between must come in pairs, of which one stays.
    """
    quotes = np.flatnonzero(buffer == _QUOTE)
    is_break = buffer[places] == LINE_END
    breaks = places[is_break]
    before = np.searchsorted(quotes, places)
    base = np.concatenate((np.zeros(1, np.int64), before[is_break]))
    seen = before - base[np.cumsum(is_break) - is_break]
    open_lines = np.flatnonzero(np.diff(base) % 2 == 1)
    places = places[is_break | (seen % 2 == 0)]
    kept, stray = _judged(quotes, places)
    lines = np.unique(np.searchsorted(breaks, quotes[stray]))
    keep = np.ones(len(buffer), np.bool_)
    keep[quotes[~kept]] = False
    moved = places - np.searchsorted(quotes[~kept], places)
    return Unquoted(buffer[keep], moved, open_lines, lines)


def _judged(quotes: Whole, places: Whole) -> tuple[Flags, Flags]:
    """Which quotes stay, as the first of a pair inside quotes, and which stand where none may."""
    field = np.searchsorted(places, quotes)
    begins = np.concatenate((np.full(1, FRONT, np.int64), places[:-1] + 1))[field]
    first = np.diff(field, prepend=-1) != 0
    last = np.diff(field, append=len(places)) != 0
    rank = np.arange(len(quotes)) - np.maximum.accumulate(np.where(first, np.arange(len(quotes)), 0))
    odd = rank % 2 == 1
    paired = np.diff(quotes, append=0) == 1
    kept = odd & ~last
    stray = (first & (quotes != begins)) | (last & odd & (quotes + 1 != places[field])) | (kept & ~paired)
    return kept, stray
