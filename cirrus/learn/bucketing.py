"""Whole numbers as tokens: ``v`` where ``v <= 2``, else ``L<floor(ln(v)^2)>``; a fraction is rounded down first."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from cirrus.learn.columns import Doubles, Tokens, Whole

_LOW, _DENSE, _HIGH = -16, 1 << 16, 1 << 31
MISSING = 0
"""The code of a missing number; codes from 1 on are those of ``vocabulary``."""


def token(value: int) -> bytes:
    """The token of one whole number."""
    return b"%d" % value if value <= 2 else b"L%d" % level(value)


def level(value: int) -> int:
    """``floor(ln(value)^2)`` in the arithmetic of Python's ``math``."""
    return math.floor(math.log(value) ** 2)


@cache
def vocabulary() -> tuple[bytes, ...]:
    """The token of each code: missing, then the small numbers, then the levels from 0 on."""
    small = [token(value) for value in range(_LOW, 3)]
    return (b"NA", *small, *(b"L%d" % one for one in range(level(_HIGH - 1) + 1)))


def codes(values: Doubles) -> tuple[Whole, NDArray[np.bool_]]:
    """The code of each number, and a flag on those that no code stands for: below -16 or from 2**31 on."""
    gone = np.isnan(values)
    floor = np.floor(np.where(gone, 0.0, values))
    rare = (floor < _LOW) | (floor >= _HIGH)
    found = _dense().take(np.where(rare, 0, floor).astype(np.int64) - _LOW, mode="clip")
    large = np.flatnonzero((floor >= _DENSE) & ~rare)
    if len(large):
        found[large] = _first_level() + np.searchsorted(_thresholds(), floor[large], side="right")
    found[gone] = MISSING
    return found, rare


def rare_tokens(values: Doubles) -> tuple[Tokens, Whole]:
    """The tokens of numbers that have no code, each different one once, and which of them each number has."""
    distinct, which = np.unique(np.floor(values), return_inverse=True)
    return Tokens.of([token(int(value)) for value in distinct]), which


def _first_level() -> int:
    """The code of level 0."""
    return 1 + 3 - _LOW


@cache
def _thresholds() -> Whole:
    """The smallest whole number of each level from 1 on, found by bisection with the very function that defines it."""
    found, low = [], 3
    for one in range(1, level(_HIGH - 1) + 1):
        high = _HIGH
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if level(middle) >= one else (middle + 1, high)
        found.append(low)
    return np.array(found, np.int64)


@cache
def _dense() -> Whole:
    """The codes of all numbers from -16 up to 65,535."""
    values = np.arange(_LOW, _DENSE)
    levels = _first_level() + np.searchsorted(_thresholds(), values, side="right")
    return np.where(values <= 2, values - _LOW + 1, levels)
