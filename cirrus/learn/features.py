"""A column's features by hashing: where each value goes, and what stands there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cirrus.learn.bucketing import MISSING, codes, rare_tokens, vocabulary
from cirrus.learn.columns import Doubles, Tokens
from cirrus.learn.hashing import buckets, murmur3_32, signs
from cirrus.learn.rows import Floats, Keys
from cirrus.steps import Hash


@dataclass(frozen=True, slots=True)
class HashedCategory:
    """A category: the hash of ``name:value``, or of ``name:NA`` where it is missing."""

    prefix: bytes
    missing: np.uint32
    step: Hash

    @staticmethod
    def of(name: str, step: Hash) -> HashedCategory:
        """For the column of that name."""
        prefix = name.encode() + b":"
        return HashedCategory(prefix, murmur3_32(Tokens.of([prefix + b"NA"]))[0], step)

    def fill(self, column: Tokens, indices: Keys, values: Floats | None) -> None:
        """Write each row's feature, and its sign where there is one."""
        present = np.flatnonzero(column.lengths != 0)
        if len(present) == len(column):
            hashes = murmur3_32(column, self.prefix)
        else:
            hashes = np.full(len(column), self.missing, np.uint32)
            hashes[present] = murmur3_32(column.take(present), self.prefix)
        indices[:] = buckets(hashes, self.step.bits)
        if values is not None:
            values[:] = signs(hashes) if self.step.signed else 1


@dataclass(frozen=True, slots=True)
class HashedBuckets:
    """A number that is bucketed: the hash of ``name:token``, looked up by the token's code."""

    prefix: bytes
    hashes: Keys
    step: Hash

    @staticmethod
    def of(name: str, step: Hash) -> HashedBuckets:
        """For the column of that name."""
        prefix = name.encode() + b":"
        return HashedBuckets(prefix, murmur3_32(Tokens.of(list(vocabulary())), prefix), step)

    def fill(self, column: Doubles, indices: Keys, values: Floats | None) -> None:
        """Write each row's feature, and its sign where there is one."""
        code, rare = codes(column)
        hashes = self.hashes.take(code)
        if rare.any():
            tokens, which = rare_tokens(column[rare])
            hashes[rare] = murmur3_32(tokens, self.prefix)[which]
        indices[:] = buckets(hashes, self.step.bits)
        if values is not None:
            values[:] = signs(hashes) if self.step.signed else 1


@dataclass(frozen=True, slots=True)
class HashedNumber:
    """A number as the value of the hash of ``name``; where it is missing, the hash of ``name:NA`` with value 1."""

    hashes: Keys
    step: Hash

    @staticmethod
    def of(name: str, step: Hash) -> HashedNumber:
        """For the column of that name."""
        return HashedNumber(murmur3_32(Tokens.of([name.encode() + b":" + vocabulary()[MISSING], name.encode()])), step)

    def fill(self, column: Doubles, indices: Keys, values: Floats) -> None:
        """Write each row's feature and value."""
        gone = np.isnan(column)
        hashes = np.where(gone, self.hashes[0], self.hashes[1])
        indices[:] = buckets(hashes, self.step.bits)
        values[:] = np.where(gone, 1, column)
        if self.step.signed:
            values *= signs(hashes)
