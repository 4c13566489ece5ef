"""Memory that goes back to the system."""

from __future__ import annotations

import ctypes

import pytest

from cirrus.actors.metrics import resident
from cirrus.learn.memory import give_back

PIECE = b"x" * 20_000
PIECES = 2000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc can be asked to")
def test_what_was_set_free_below_something_in_use_goes_back_to_the_system() -> None:
    pieces = [PIECE + bytes(1) for _ in range(PIECES)]
    *free, kept = pieces
    full = resident()
    del pieces, free
    give_back()
    assert len(kept) == len(PIECE) + 1
    assert resident() < full - len(PIECE) * PIECES * 0.8
