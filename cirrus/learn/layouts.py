"""A source made definite: what the beginning of its first object says about the columns that it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cirrus.errors import InputError
from cirrus.learn.lines import Table, Text, marks, table
from cirrus.learn.numerals import numbers
from cirrus.learn.quotes import unquote
from cirrus.sources import CsvSource, Kind, Source

_LOOKED_AT = 1000
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Layout:
    """``source`` with every column named, in order, and its kind given; ``header``: each object's first line.

    An empty ``header`` says that objects begin with their first row.
    """

    source: Source
    header: bytes = b""


def layout(source: Source, head: bytes, name: str) -> Layout:
    """Make a source definite by the beginning ``head`` (whole lines) of its first object, which is called ``name``."""
    if not isinstance(source, CsvSource):
        return Layout(source)
    header = b"" if source.names is not None else first_line(head)
    names = source.names or _names(header, source, name)
    for column in (source.label, *(source.columns or ())):
        if column not in names:
            raise InputError(name, f"no such column; there are {', '.join(map(repr, names))}", 1, column)
    definite = replace(source, names=names)
    return Layout(replace(definite, columns=dict(infer_columns(head, source, name))), header)


def infer_columns(head: bytes, source: CsvSource, name: str = "") -> Mapping[str, Kind]:
    """The columns but for the label, in order of the file: those the source declares, else all of them.

    A column is a number where all of the first 1,000 rows have a number or nothing in it, else a category.
    """
    header = b"" if source.names is not None else first_line(head)
    names = source.names or _names(header, source, name)
    declared = source.columns
    if declared is not None:
        return {column: declared[column] for column in names if column in declared}
    body = head if source.names is not None else head.partition(b"\n")[2]
    cut = csv_table(_first_lines(body), source.delimiter, len(names))
    return {column: _kind(cut, number) for number, column in enumerate(names) if column != source.label}


def first_line(head: bytes) -> bytes:
    """The first line, without its end and without a byte order mark."""
    return head.partition(b"\n")[0].removesuffix(b"\r").removeprefix(_MARK)


def csv_table(data: bytes, delimiter: str, width: int) -> Table:
    """Whole lines cut into fields, with quotes taken off and nothing said about wrong lines."""
    text = Text.of(data)
    places = marks(text.buffer, ord(delimiter))
    if b'"' not in data:
        return table(text.buffer, places, width, len(text.starts))
    bare = unquote(text.buffer, places)
    return table(bare.buffer, bare.places, width, len(text.starts), text.filled())


def _first_lines(data: bytes) -> bytes:
    """As many lines of the data as are looked at."""
    end = -1
    for _ in range(_LOOKED_AT):
        found = data.find(b"\n", end + 1)
        if found < 0:
            return data
        end = found
    return data[: end + 1]


def _kind(cut: Table, number: int) -> Kind:
    return "category" if numbers(cut.field(number))[1].any() else "number"


def _names(header: bytes, source: CsvSource, name: str) -> tuple[str, ...]:
    """The columns' names of a header line."""
    if not header:
        raise InputError(name, "no header line; give the columns' names as names=(...)", 1)
    cut = csv_table(header, source.delimiter, header.count(source.delimiter.encode()) + 1)
    width = int(cut.counts[0]) if len(cut.counts) else cut.marks.shape[1]
    cut = csv_table(header, source.delimiter, width)
    try:
        names = tuple(cut.field(number)[0].decode() for number in range(width))
    except UnicodeDecodeError as error:
        raise InputError(name, "the header is not UTF-8", 1) from error
    doubled = sorted({one for one in names if names.count(one) > 1})
    if doubled or "" in names:
        problem = "the header has " + (f"{doubled[0]!r} twice" if doubled else "a column without a name")
        raise InputError(name, problem + "; each column needs a name of its own", 1)
    return names

