"""Memory for tables, in huge pages where the system has them: finding the page of each row costs more than the row.

Rows are visited far apart, so that nearly each is on another page of 4 kB; half of a push's time went into looking
these up. A page of 2 MB holds half a million numbers. What does not fill one is left to small pages: a hundred small
tables would else take twice what they hold.
"""

from __future__ import annotations

import ctypes
import math
import mmap
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

PAGE: Final = 2 * 2**20
LEAST: Final = 64 * 1024
"""Bytes of an array from which on it gets pages of its own, which go back to the system with it."""

N = TypeVar("N", np.float32, np.int32)


def zeros(shape: tuple[int, ...], dtype: type[N]) -> NDArray[N]:
    """An array of zeros, as numpy's."""
    count = math.prod(shape)
    return room(count * np.dtype(dtype).itemsize).view(dtype).reshape(shape)


def room(size: int) -> NDArray[np.uint8]:
    """So many bytes of zeros, which go back to the system at once when nobody holds them any more."""
    if size < LEAST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(size, np.uint8)
    huge = size // PAGE * PAGE
    # A page begins at a multiple of its size, so that there must be room to begin at one.
    pages = mmap.mmap(-1, size + PAGE * (huge > 0), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    offset = -np.frombuffer(pages, np.uint8).ctypes.data % PAGE if huge else 0
    if huge:
        pages.madvise(mmap.MADV_HUGEPAGE, offset, huge)
    return np.frombuffer(pages, np.uint8, size, offset)


def scattered(count: int) -> NDArray[np.uint8]:
    """So many bytes of zeros, for who touches few of them at a time, far apart, and cannot wait: in small pages.

    The system clears a page when it is touched first. With pages of 2 MB a step would wait for as many as it has rows.
    """
    if not hasattr(mmap, "MADV_NOHUGEPAGE"):
        return np.zeros(count, np.uint8)
    pages = mmap.mmap(-1, max(count, 1), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.uint8, count)


def give_back() -> None:
    """Return to the system what has been set free and is kept for later, between what is still in use.

    It takes about a millisecond for a heap of 200 MB; nothing happens where the system's library cannot.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
