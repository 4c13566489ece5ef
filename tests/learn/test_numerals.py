"""Numbers from text: exactly those of Python's ``float``, and nothing that is no plain number."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.learn.columns import Tokens
from cirrus.learn.numerals import LARGEST, numbers

WHOLE = re.compile(rb"[+-]?[0-9]+")
DECIMAL = re.compile(rb"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
TEXTS = st.one_of(
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.floats(width=32).map(str),
    st.text("0123456789+-.eE", max_size=12),
    st.text("0123456789 _xnaif\0ü", max_size=5),
).map(str.encode)


@given(st.lists(TEXTS, max_size=20))
def test_numbers_are_those_of_python(texts: list[bytes]) -> None:
    for form, pattern in (("decimal", DECIMAL), ("whole", WHOLE)):
        values, bad = numbers(Tokens.of(texts), "decimal" if form == "decimal" else "whole")
        for text, value, wrong in zip(texts, values.tolist(), bad.tolist(), strict=True):
            good = bool(pattern.fullmatch(text)) and abs(float(text)) <= LARGEST
            assert wrong == (not good and text != b""), text
            assert value == float(text) if good else math.isnan(value), text


STRANGE = ("nan", "inf", "-inf", "1e39", "-3.5e38", "1_000", "0x10", "1 ", " 1", "\uff11", "1" * 65)


@pytest.mark.parametrize("text", STRANGE)
def test_texts_that_are_no_numbers(text: str) -> None:
    values, bad = numbers(Tokens.of([text.encode(), b"1"]))
    assert bad.tolist() == [True, False]
    assert math.isnan(values[0])


def test_missing_is_not_a_number_and_not_wrong() -> None:
    values, bad = numbers(Tokens.of([b"", b"-3", b"12345678", b"123456789", b"-12345678", b""]), "whole")
    assert not bad.any()
    assert np.isnan(values).tolist() == [True, False, False, False, False, True]
    assert values[1:5].tolist() == [-3, 12345678, 123456789, -12345678]
