"""Sparse rows in the format of LIBSVM: what is read and what is bad."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import InputError
from cirrus.learn.columns import Parsed
from cirrus.learn.parse_libsvm import LibsvmParser
from cirrus.learn.rows import Rows
from cirrus.sources import libsvm


def parsed(data: bytes, on_bad_row: Literal["fail", "skip"] = "fail", features: int | None = None) -> Parsed:
    return LibsvmParser(libsvm("x", features=features, on_bad_row=on_bad_row)).parse(data, 1, "x.svm")


def rows(found: Parsed) -> Rows:
    assert isinstance(found.content, Rows)
    return found.content


def values_of(found: Parsed) -> list[float]:
    content = rows(found)
    return [1.0] * len(content.indices) if content.values is None else [float(value) for value in content.values]


PAIRS = st.dictionaries(st.integers(1, 2**31 - 1), st.floats(-(2.0**99), 2.0**99, width=32), max_size=6)


@given(st.lists(st.tuples(st.sampled_from([b"+1", b"-1", b"0", b"1"]), PAIRS), max_size=8))
def test_rows_are_read_as_written(written: list[tuple[bytes, dict[int, float]]]) -> None:
    lines = [b" ".join([label, *(b"%d:%r" % pair for pair in sorted(pairs.items()))]) for label, pairs in written]
    found = parsed(b" # nothing\n".join(lines))
    assert rows(found).labels.tolist() == [float(label in {b"+1", b"1"}) for label, _ in written]
    assert rows(found).indptr.tolist() == np.cumsum([0, *(len(pairs) for _, pairs in written)]).tolist()
    assert rows(found).indices.tolist() == [key - 1 for _, pairs in written for key in sorted(pairs)]
    expected = [np.float32(pairs[key]) for _, pairs in written for key in sorted(pairs)]
    assert (rows(found).values is None) == all(value == 1 for value in expected)
    assert values_of(found) == expected


def test_blanks_comments_and_line_ends() -> None:
    found = parsed(b"# all\n\n+1\t1:1  3:1 \r\n   \n-1 # 1:x\n1 2:1#c # d\n")
    assert rows(found).labels.tolist() == [1, 0, 1]
    assert rows(found).indptr.tolist() == [0, 2, 2, 3]
    assert rows(found).indices.tolist() == [0, 2, 1]
    assert rows(found).values is None
    assert (found.rows, found.lines) == (3, 6)
    assert found.offsets.tolist() == [7, 25, 34]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"2 1:1", "'2' is no label"),
        (b"1:1", "'1:1' is no label"),
        (b"1 x:1", "'x:1' is not of the form id:value"),
        (b"1 5", "'5' is not of the form id:value"),
        (b"1 :5", "':5' is not of the form id:value"),
        (b"1 5:", "'5:' is not of the form id:value"),
        (b"1 5:1:2", "'5:1:2' has no number as its value"),
        (b"1 5:nan", "'5:nan' has no number as its value"),
        (b"1 2:1 5:x", "'5:x' has no number as its value"),
        (b"1 0:1", "'0:1' has an id outside 1 to 9"),
        (b"1 -1:1", "'-1:1' has an id outside 1 to 9"),
        (b"1 10:1", "'10:1' has an id outside 1 to 9"),
        (b"1 3:1 3:2", "'3:2' comes after an equal or a larger id"),
        (b"1 3:1 2:2", "'2:2' comes after an equal or a larger id"),
    ],
)
def test_a_bad_row_is_named_or_skipped(row: bytes, problem: str) -> None:
    data = b"1 9:2\n# c\n" + row + b"\n-1 1:3 2:4\n"
    with pytest.raises(InputError) as caught:
        parsed(data, features=9)
    assert (caught.value.name, caught.value.line) == ("x.svm", 3)
    assert problem in caught.value.problem
    found = parsed(data, "skip", features=9)
    assert found.positions.tolist() == [0, 2]
    assert rows(found).indptr.tolist() == [0, 1, 3]
    assert rows(found).indices.tolist() == [8, 0, 1]
    assert values_of(found) == [2, 3, 4]


def test_ids_end_at_31_bits() -> None:
    assert rows(parsed(b"1 2147483647:1")).indices.tolist() == [2**31 - 2]
    with pytest.raises(InputError, match="outside 1 to 2147483647"):
        parsed(b"1 2147483648:1")


@pytest.mark.parametrize("data", [b"", b"\n", b"# c", b"x y\n"])
def test_nothing_good_is_no_rows(data: bytes) -> None:
    found = parsed(data, "skip")
    assert len(rows(found)) == 0
    assert rows(found).indptr.tolist() == [0]
