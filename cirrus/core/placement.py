"""Which shard holds a row of a table, and where: rows are dealt out in turn, so that neighbours spread over all shards.

Everything works on one number and, by the same operators, on an integer array of any shape and dtype.
"""

from __future__ import annotations

from typing import Protocol, Self, TypeVar


class Whole(Protocol):
    """A whole number, or an array of them."""

    def __mod__(self, other: int, /) -> Self: ...
    def __floordiv__(self, other: int, /) -> Self: ...
    def __mul__(self, other: int, /) -> Self: ...
    def __add__(self, other: int, /) -> Self: ...


W = TypeVar("W", bound=Whole)


def shard_of(key: W, shards: int) -> W:
    """The shard that holds row ``key`` of a table, from 0 to ``shards - 1``."""
    return key % shards


def local_row(key: W, shards: int) -> W:
    """The place of row ``key`` within the part of the table that its shard holds."""
    return key // shards


def key_of(local: W, shard: int, shards: int) -> W:
    """The row of the whole table that shard ``shard`` holds at ``local``."""
    return local * shards + shard


def rows_on(shard: int, rows: int, shards: int) -> int:
    """How many of a table's ``rows`` rows shard ``shard`` holds."""
    return (rows - shard + shards - 1) // shards
