"""Numbers from decimal text, many at once: what is accepted, and the nearest float64 of each.

A whole number is digits with an optional sign. A number may also have a decimal point and an exponent. Texts for
infinity or not-a-number, and values beyond the range of a 32-bit float, are no numbers here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.columns import Doubles, Flags, Octets, Tokens, Whole, Words, words

Form = Literal["whole", "decimal"]

LARGEST = float(np.finfo(np.float32).max)
"""Features are 32-bit floats; a larger number would become infinite there."""
_LONGEST = 64
_ZEROS = np.uint64(0x3030303030303030)
_HIGH_BITS = np.uint64(0x8080808080808080)
_KEEP: Words = np.array([(2**64 - 1) >> (64 - 8 * k) << (64 - 8 * k) if k else 0 for k in range(9)], np.uint64)


def numbers(tokens: Tokens, form: Form = "decimal") -> tuple[Doubles, Flags]:
    """The value of each token, NaN where it is missing or no number, and a flag on those that are no number."""
    value, plain = _short(tokens)
    out = value.astype(np.float64)
    bad = np.zeros(len(tokens), np.bool_)
    if not plain.all():
        other = np.flatnonzero(~plain)
        out[other] = np.nan
        other = other[tokens.lengths[other] > 0]
        out[other], bad[other] = _any(tokens.take(other), form)
    return out, bad


def _short(tokens: Tokens) -> tuple[Words | Whole, Flags]:
    """The value of tokens that are one to eight digits, perhaps after a minus, and a flag on those.

    The eight bytes that end with the token are one word, whose digits are added up in three multiplications.
    """
    negative = tokens.buffer[tokens.starts] == ord("-")
    signed = bool(negative.any())
    digits = tokens.lengths - negative if signed else tokens.lengths
    word = words(tokens.buffer)[tokens.starts + (tokens.lengths - 8)]
    word ^= _ZEROS
    word &= _KEEP.take(digits, mode="clip")
    wrong = word + np.uint64(0x7676767676767676)
    wrong |= word
    wrong &= _HIGH_BITS
    plain = (wrong == 0) & (digits > 0) & (digits <= 8)
    word *= np.uint64(2561)
    word >>= np.uint64(8)
    word &= np.uint64(0x00FF00FF00FF00FF)
    word *= np.uint64(6553601)
    word >>= np.uint64(16)
    word &= np.uint64(0x0000FFFF0000FFFF)
    word *= np.uint64(42949672960001)
    word >>= np.uint64(32)
    if not signed:
        return word, plain
    value = word.astype(np.int64)
    return np.where(negative, -value, value), plain


def _any(tokens: Tokens, form: Form) -> tuple[Doubles, Flags]:
    """The same for tokens of any form, none missing, by a finite automaton and the exact conversion of numpy."""
    width = min(int(tokens.lengths.max(initial=1)), _LONGEST)
    steps = np.arange(width)
    text = tokens.buffer.take(tokens.starts[:, None] + steps, mode="clip")
    text[text == 0] = 1  # only the padding may look like an end
    text[steps >= tokens.lengths[:, None]] = 0
    good = _accepted(text, form) & (tokens.lengths <= _LONGEST)
    text[~good] = 0
    text[~good, 0] = ord("0")
    value = text.view(f"S{width}")[:, 0].astype(np.float64)
    good &= np.abs(value) <= LARGEST
    value[~good] = np.nan
    return value, ~good


def _accepted(text: Octets, form: Form) -> Flags:
    """Which rows of a matrix of characters, padded with zeros, are numbers of that form."""
    state = np.zeros(len(text), np.uint8)
    transitions, accepting = _AUTOMATA[form]
    for column in _CLASS[text].T:
        state = transitions[state, column]
    return accepting[state]


def _automaton(table: list[str], accepting: str) -> tuple[Octets, Flags]:
    """Transitions by (state, class of character) from rows of digits; ``accepting`` lists the final states."""
    rows = np.array([[int(cell) for cell in row] for row in table], np.uint8)
    return rows, np.array([str(state) in accepting for state in range(len(table))])


def _classes() -> NDArray[np.uint8]:
    """The class of each byte: 0 end, 1 digit, 2 sign, 3 point, 4 exponent, 5 anything else."""
    classes = np.full(256, 5, np.uint8)
    classes[0] = 0
    for number, characters in enumerate((b"0123456789", b"+-", b".", b"eE"), start=1):
        classes[list(characters)] = number
    return classes


_CLASS = _classes()
# States: 0 start, 1 after a sign, 2 digits, 3 digits and point, 4 point alone, 5 digits after the point, 6 after e,
# 7 after e and sign, 8 digits of the exponent, 9 no number. A row gives the next state for the classes 0 to 5.
_AUTOMATA = {
    "decimal": _automaton(
        ["921499", "929499", "229369", "359969", "959999", "559969", "987999", "989999", "889999", "999999"], "2358"
    ),
    "whole": _automaton(["921999", "929999", "229999", *["999999"] * 7], "2"),
}
