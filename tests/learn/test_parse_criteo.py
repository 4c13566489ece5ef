"""Display-advertising rows: what is read, what is bad and how it is named."""

from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import InputError
from cirrus.learn.columns import Columns, Parsed
from cirrus.learn.parse_criteo import CriteoParser
from cirrus.sources import CriteoSource


def parsed(data: bytes, on_bad_row: Literal["fail", "skip"] = "fail", first_line: int = 1) -> Parsed:
    source = CriteoSource(path="x", integers=("I1", "I2"), categories=("C1", "C2"), on_bad_row=on_bad_row)
    return CriteoParser(source).parse(data, first_line, "data/x.tsv")


def columns(found: Parsed) -> Columns:
    assert isinstance(found.content, Columns)
    return found.content


def test_labels_integers_and_categories() -> None:
    found = columns(parsed(b"0\t5\t-1\tab\tcde\n1\t\t12\t\tx\n"))
    assert found.labels.tolist() == [0, 1]
    assert found.numbers["I1"].tolist()[0] == 5
    assert math.isnan(found.numbers["I1"][1])
    assert found.numbers["I2"].tolist() == [-1, 12]
    assert [found.categories["C1"][k] for k in (0, 1)] == [b"ab", b""]
    assert [found.categories["C2"][k] for k in (0, 1)] == [b"cde", b"x"]


ROW = st.tuples(
    st.sampled_from([b"0", b"1"]),
    st.one_of(st.just(b""), st.integers(-(10**12), 10**12).map(lambda number: str(number).encode())),
    st.one_of(st.just(b""), st.integers(-9, 99).map(lambda number: str(number).encode())),
    st.binary(max_size=9).map(lambda token: token.translate(None, b"\t\r\n")),
    st.binary(max_size=9).map(lambda token: token.translate(None, b"\t\r\n")),
)


@given(st.lists(st.one_of(ROW, st.just(())), max_size=12), st.sampled_from([b"\n", b"\r\n"]), st.integers(0, 1))
def test_rows_are_read_as_written(rows: list[tuple[bytes, ...]], end: bytes, last: int) -> None:
    data = b"".join(b"\t".join(row) + end for row in rows)
    found = parsed(data[: len(data) - len(end)] if last and data else data)
    filled = [row for row in rows if row]
    assert found.rows == len(filled) == len(columns(found))
    assert found.positions.tolist() == list(range(len(filled)))
    assert columns(found).labels.tolist() == [float(row[0]) for row in filled]
    for number, row in enumerate(filled):
        value = columns(found).numbers["I1"][number]
        assert value == float(row[1]) if row[1] else math.isnan(value)
        assert columns(found).categories["C1"][number] == row[3]
        assert columns(found).categories["C2"][number] == row[4]
        assert data[found.offsets[number] :].startswith(b"\t".join(row))
        assert found.offsets[number] == 0 or data[found.offsets[number] - 1] == ord("\n")


@pytest.mark.parametrize(
    ("row", "column", "problem"),
    [
        (b"2\t1\t1\ta\tb", "label", "'2' is no label; it must be 0 or 1"),
        (b"\t1\t1\ta\tb", "label", "'' is no label"),
        (b"01\t1\t1\ta\tb", "label", "'01' is no label"),
        (b"0\t1\tx\ta\tb", "I2", "'x' is no whole number"),
        (b"0\t1.5\tx\ta\tb", "I1", "'1.5' is no whole number"),
        (b"0\t1\t1\ta", "", "4 tab-separated fields instead of 5"),
        (b"0\t1\t1\ta\tb\tc", "", "6 tab-separated fields instead of 5"),
        (b"0", "", "1 tab-separated fields instead of 5"),
        (b"0\t\xff\t1\ta\tb", "I1", r"'\\xff' is no whole number"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column(row: bytes, column: str, problem: str) -> None:
    good = b"1\t1\t1\ta\tb\n"
    with pytest.raises(InputError) as caught:
        parsed(good + b"\n" + good + row + b"\n" + b"7\n" + good, first_line=10)
    assert (caught.value.name, caught.value.line, caught.value.column) == ("data/x.tsv", 13, column)
    assert problem in caught.value.problem


def test_bad_rows_that_are_skipped_keep_their_numbers() -> None:
    lines = [b"1\t1\t1\ta\tb", b"1\t1", b"", b"x\t1\t1\ta\tb", b"0\t2\t3\tc\td", b"0\tz\t3\tc\td", b"1\t4\t4\te\tf"]
    found = parsed(b"\n".join(lines), "skip")
    assert (found.rows, found.skipped, found.lines) == (6, 3, 7)
    assert found.positions.tolist() == [0, 3, 5]
    assert columns(found).labels.tolist() == [1, 0, 1]
    assert columns(found).numbers["I1"].tolist() == [1, 2, 4]
    assert columns(found).categories["C2"][1] == b"d"
    assert found.offsets.tolist() == [0, *(len(b"\n".join(lines[:k])) + 1 for k in (4, 6))]


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\n"])
def test_nothing_is_no_rows(data: bytes) -> None:
    found = parsed(data)
    assert (found.rows, len(columns(found)), found.lines) == (0, 0, data.count(b"\n"))


def test_chunks_of_bad_rows_alone_can_be_skipped() -> None:
    found = parsed(b"a\nb\n", "skip")
    assert (found.rows, found.skipped, len(columns(found))) == (2, 2, 0)
