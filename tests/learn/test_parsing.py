"""What holds for every parser: any bytes are rows or bad rows, and lines do not depend on their neighbours."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import InputError, PipelineError
from cirrus.learn.columns import Columns, Parsed
from cirrus.learn.parsing import parser
from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, Source

SOURCES = {
    "criteo": CriteoSource(path="x", integers=("I1",), categories=("C1",), on_bad_row="skip"),
    "csv": CsvSource(
        path="x", label="y", names=("y", "a", "b"), columns={"a": "number", "b": "category"}, on_bad_row="skip"
    ),
    "libsvm": LibsvmSource(path="x", on_bad_row="skip"),
}
ALPHABETS = {"criteo": b"01-x\t\t\n\r", "csv": b'01.x,,"\n\r', "libsvm": b"01:: \t#\n\r"}


def described(found: Parsed) -> list[object]:
    """Each good row as plain values."""
    content = found.content
    if isinstance(content, Columns):
        return [
            (
                float(content.labels[k]),
                [repr(float(column[k])) for column in content.numbers.values()],
                [column[k] for column in content.categories.values()],
            )
            for k in range(len(content))
        ]
    values = np.ones(len(content.indices)) if content.values is None else content.values
    bounds = content.indptr.tolist()
    return [
        (float(content.labels[k]), content.indices[begin:end].tolist(), values[begin:end].tolist())
        for k, (begin, end) in enumerate(pairwise(bounds))
    ]


@pytest.mark.parametrize("kind", SOURCES)
@given(data=st.data())
def test_lines_are_read_alike_whatever_stands_around_them(kind: str, data: st.DataObject) -> None:
    letters = st.sampled_from([bytes([letter]) for letter in ALPHABETS[kind]])
    text = b"".join(data.draw(st.lists(letters, max_size=80)))
    read = parser(SOURCES[kind])
    whole = read.parse(text, 1, "x")
    rows: list[object] = []
    positions: list[int] = []
    offsets: list[int] = []
    total = place = 0
    for line in _lines(text):
        one = read.parse(line, 1, "x")
        rows += described(one)
        positions += [total + number for number in one.positions.tolist()]
        offsets += [place + offset for offset in one.offsets.tolist()]
        total, place = total + one.rows, place + len(line)
    assert described(whole) == rows
    assert whole.positions.tolist() == positions
    assert whole.offsets.tolist() == offsets
    assert (whole.rows, whole.lines) == (total, len(_lines(text)))


def _lines(text: bytes) -> list[bytes]:
    pieces = text.split(b"\n")
    return [piece + b"\n" for piece in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


@pytest.mark.parametrize("kind", SOURCES)
@given(text=st.binary(max_size=60))
def test_any_bytes_are_rows_or_an_input_error(kind: str, text: bytes) -> None:
    found = parser(SOURCES[kind]).parse(text, 1, "x")
    assert len(found.content) == len(found.positions) <= found.rows <= found.lines
    failing: Source = replace(SOURCES[kind], on_bad_row="fail")
    with contextlib.suppress(InputError) if found.skipped else contextlib.nullcontext():
        parser(failing).parse(text, 1, "x")
        assert not found.skipped


def test_a_source_of_another_kind_has_no_parser() -> None:
    with pytest.raises(PipelineError, match="a source such as"):
        parser(Source(path="x"))
