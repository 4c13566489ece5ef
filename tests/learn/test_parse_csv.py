"""Comma-separated rows: quotes, labels, layouts, and what is bad about a row."""

from __future__ import annotations

import csv as standard
import io
from collections.abc import Mapping
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import InputError, PipelineError
from cirrus.learn.columns import Columns, Parsed
from cirrus.learn.layouts import infer_columns, layout
from cirrus.learn.parse_csv import CsvParser
from cirrus.sources import CsvSource, Kind, csv

Policy = Literal["fail", "skip"]


def parsed(data: bytes, on_bad_row: Policy = "fail", positive: str | None = None) -> Parsed:
    columns: dict[str, Kind] = {"a": "number", "b": "category"}
    source = csv("x", label="y", columns=columns, names=("a", "b", "y"), positive=positive, on_bad_row=on_bad_row)
    return CsvParser(source).parse(data, 1, "x.csv")


def columns(found: Parsed) -> Columns:
    assert isinstance(found.content, Columns)
    return found.content


FIELD = st.text(st.sampled_from('ab,"é 1'), max_size=6)


@given(st.lists(FIELD, min_size=1, max_size=10), st.sampled_from(["\n", "\r\n"]), st.sampled_from([0, 1]))
def test_quoted_fields_are_those_of_the_standard_library(fields: list[str], end: str, style: int) -> None:
    out = io.StringIO()
    writer = standard.writer(out, lineterminator=end, quoting=standard.QUOTE_ALL if style else standard.QUOTE_MINIMAL)
    writer.writerows([number, field, number % 2] for number, field in enumerate(fields))
    data = out.getvalue().encode()
    found = parsed(data)
    assert [columns(found).categories["b"][k].decode() for k in range(len(fields))] == fields
    assert columns(found).numbers["a"].tolist() == list(range(len(fields)))
    assert [data[: offset].count(b"\n") for offset in found.offsets] == list(range(len(fields)))


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (b'1,"b,1', "", "runs over the end of the line"),
        (b'1,"b\nc",1', "", "runs over the end of the line"),
        (b'1,b"c",1', "", "a quote stands where none may"),
        (b'1,"b"c,1', "", "a quote stands where none may"),
        (b'1,"b"c"",1', "", "a quote stands where none may"),
        (b"1,b", "", "2 fields instead of 3"),
        (b"x,b,1", "a", "'x' is no number; correct it, or declare it as a category"),
        (b"nan,b,1", "a", "'nan' is no number"),
        (b"1,b,2", "y", "'2' is no label; it must be 0 or 1, or -1 or 1"),
        (b"1,b,", "y", "'' is no label"),
    ],
)
def test_a_bad_row_is_named_or_skipped(row: bytes, column: str, problem: str) -> None:
    data = b'1,"q",1\n\n' + row + b"\n2,b,0\n"
    with pytest.raises(InputError) as caught:
        parsed(data)
    assert (caught.value.line, caught.value.column) == (3, column)
    assert problem in caught.value.problem
    found = parsed(data, "skip")
    assert columns(found).numbers["a"].tolist() == [1, 2]
    assert found.positions.tolist() == [0, found.rows - 1]


def test_labels_are_0_and_1_or_minus_1_and_1_or_a_text() -> None:
    assert columns(parsed(b"1,b,0\n1,b,1\n1,b,-1\n1,b,+1\n1,b,1.0\n")).labels.tolist() == [0, 1, 0, 1, 1]
    data = b"1,b,>50K of all people\n1,b,<=50K\n1,b,>50K of all peopl\n1,b,>50K of all peoplx\n"
    assert columns(parsed(data, positive=">50K of all people")).labels.tolist() == [1, 0, 0, 0]
    with pytest.raises(InputError, match="is no label"):
        parsed(b"1,b,\n", positive="a")


HEAD = b'\xef\xbb\xbfa,"b,c",d,y\r\n1,x,,0\r\n,y,,1\r\n2.5,3,,1\r\n'


def test_a_layout_comes_from_the_head() -> None:
    found = layout(csv("x", label="y"), HEAD, "x.csv")
    assert found.header == b'a,"b,c",d,y'
    assert isinstance(found.source, CsvSource)
    assert found.source.names == ("a", "b,c", "d", "y")
    assert found.source.columns == {"a": "number", "b,c": "category", "d": "number"}


def test_declared_columns_are_taken_in_the_order_of_the_file() -> None:
    declared: Mapping[str, Kind] = {"d": "category", "a": "number"}
    found = layout(csv("x", label="y", columns=declared), HEAD, "x.csv")
    assert isinstance(found.source, CsvSource)
    assert list((found.source.columns or {}).items()) == [("a", "number"), ("d", "category")]


def test_a_file_without_a_header_has_names_that_are_given() -> None:
    found = layout(csv("x", label="y", names=("a", "b", "y")), b"1,x,0\n", "x.csv")
    assert found.header == b""
    assert isinstance(found.source, CsvSource)
    assert found.source.columns == {"a": "number", "b": "category"}


def test_only_the_first_thousand_rows_decide() -> None:
    rows = b"".join(b"%d,0\n" % number for number in range(1000))
    assert infer_columns(b"a,y\n" + rows + b"x,0\n", csv("x", label="y")) == {"a": "number"}
    assert infer_columns(b"a,y\nx,0\n" + rows, csv("x", label="y")) == {"a": "category"}


@pytest.mark.parametrize(
    ("head", "column", "problem"),
    [
        (b"a,b\n1,2\n", "y", "no such column; there are 'a', 'b'"),
        (b"", "", "no header line"),
        (b"\n1,2\n", "", "no header line"),
        (b"a,a,y\n", "", "'a' twice"),
        (b"a,,y\n", "", "a column without a name"),
        (b"\xff,y\n", "", "not UTF-8"),
    ],
)
def test_a_bad_header_is_named(head: bytes, column: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        layout(csv("x", label="y"), head, "x.csv")
    assert (caught.value.name, caught.value.line, caught.value.column) == ("x.csv", 1, column)


def test_a_missing_declared_column_is_named() -> None:
    with pytest.raises(InputError, match="there are 'a', 'b,c', 'd', 'y'") as caught:
        layout(csv("x", label="y", columns={"z": "number"}), HEAD, "x.csv")
    assert caught.value.column == "z"


def test_other_delimiters() -> None:
    names: dict[str, Kind] = {"a": "number", "b": "category"}
    source = csv("x", label="y", names=("a", "b", "y"), columns=names, delimiter="-")
    found = CsvParser(source).parse(b'--0\n1-"-"-1\n', 1, "x")
    assert columns(found).labels.tolist() == [0, 1]
    assert columns(found).categories["b"][1] == b"-"


def test_a_parser_needs_a_definite_source() -> None:
    with pytest.raises(PipelineError, match="whose columns are known"):
        CsvParser(csv("x", label="y"))


def test_a_file_of_labels_alone_has_rows() -> None:
    source = csv("x", label="y", names=("y",), columns={})
    assert columns(CsvParser(source).parse(b"1\n\n0\n", 1, "x")).labels.tolist() == [1, 0]
