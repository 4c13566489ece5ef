"""Rows that a program has in hand, for prediction: mappings of names to values, or lines as the source has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from cirrus.errors import InputError
from cirrus.learn.columns import Columns, Doubles, Tokens
from cirrus.learn.faults import shown
from cirrus.learn.layouts import csv_table
from cirrus.learn.numerals import numbers
from cirrus.learn.parsing import parser
from cirrus.learn.plans import columns_of
from cirrus.learn.rows import Rows
from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, Source

Record = Mapping[str, object] | Mapping[int, float] | bytes | str

_NAME = "record"
_MOST = 2**31 - 1


def content_of(source: Source, records: Sequence[Record]) -> Columns | Rows:
    """The records as rows of a definite source; labels that they lack are 0."""
    lines = [record.encode() if isinstance(record, str) else record for record in records]
    if all(isinstance(line, bytes) for line in lines):
        return _from_lines(source, [line for line in lines if isinstance(line, bytes)])
    mappings = [record for record in records if isinstance(record, Mapping)]
    if len(mappings) < len(records):
        mapped = isinstance(records[0], Mapping)
        good = Mapping if mapped else (bytes, str)
        number = next(k for k, record in enumerate(records, start=1) if not isinstance(record, good))
        raise InputError(_NAME, "records must be all mappings or all lines", number)
    if isinstance(source, LibsvmSource):
        return _sparse(mappings)
    return _from_mappings(source, mappings)


def _from_lines(source: Source, lines: list[bytes]) -> Columns | Rows:
    bare = [line.removesuffix(b"\n").removesuffix(b"\r") for line in lines]
    for number, line in enumerate(bare, start=1):
        if not line or b"\n" in line:
            raise InputError(_NAME, "a record must be one line that is not blank", number)
    if bare:
        source, bare = _labelled(source, bare)
    found = parser(replace(source, on_bad_row="fail")).parse(b"\n".join(bare), 1, _NAME)
    if found.rows < len(lines):
        raise InputError(_NAME, "a record must be one row")
    return found.content


def _labelled(source: Source, lines: list[bytes]) -> tuple[Source, list[bytes]]:
    """The lines with a label, which is 0 for all of them if the first line lacks it."""
    match source:
        case CriteoSource() if lines[0].count(b"\t") == len(source.integers) + len(source.categories) - 1:
            return source, [b"0\t" + line for line in lines]
        case LibsvmSource() if b":" in lines[0].split(None, 1)[0]:
            return source, [b"0 " + line for line in lines]
        case CsvSource(names=names) if names is not None:
            cut = csv_table(lines[0], source.delimiter, len(names))
            if cut.counts.tolist() == [len(names) - 1]:
                order = (*(name for name in names if name != source.label), source.label)
                end = source.delimiter.encode() + b"0"
                return replace(source, names=order, positive=None), [line + end for line in lines]
        case _:
            pass
    return source, lines


def _from_mappings(source: Source, records: list[Mapping[str, object] | Mapping[int, float]]) -> Columns:
    kinds = columns_of(source)
    named = [{str(name): value for name, value in record.items()} for record in records]
    others = set(source.names or ()) if isinstance(source, CsvSource) else {"label"}
    for number, record in enumerate(named, start=1):
        unknown = sorted(set(record) - set(kinds) - others)
        if unknown:
            raise InputError(_NAME, f"no such column; there are {', '.join(map(repr, kinds))}", number, unknown[0])
    figures: dict[str, Doubles] = {}
    categories: dict[str, Tokens] = {}
    for name, kind in kinds.items():
        tokens = Tokens.of([_text(record.get(name)) for record in named])
        if kind == "category":
            categories[name] = tokens
            continue
        figures[name], wrong = numbers(tokens)
        if wrong.any():
            first = int(np.argmax(wrong))
            raise InputError(_NAME, f"{shown(tokens, first)} is no number", first + 1, name)
    return Columns(np.zeros(len(named), np.float32), figures, categories)


def _text(value: object) -> bytes:
    """A value as a file would have it; nothing where it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return b""
    return value if isinstance(value, bytes) else str(value).encode()


def _sparse(records: list[Mapping[str, object] | Mapping[int, float]]) -> Rows:
    """Sparse rows from mappings of ids, from 1, to values."""
    indices: list[int] = []
    values: list[float] = []
    indptr = np.zeros(len(records) + 1, np.int64)
    for number, record in enumerate(records, start=1):
        for key, value in record.items():
            if not isinstance(key, int) or not 1 <= key <= _MOST:
                raise InputError(_NAME, f"ids must be whole numbers from 1 to {_MOST}", number, str(key))
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(_NAME, f"{value!r} is no finite number", number, str(key))
            indices.append(key - 1)
            values.append(value)
        indptr[number] = len(indices)
    labels = np.zeros(len(records), np.float32)
    return Rows(labels, indptr, np.array(indices, np.uint32), np.array(values, np.float32))
