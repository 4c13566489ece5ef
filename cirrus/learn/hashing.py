"""MurmurHash3 (x86, 32 bits) of many byte strings at once, and the bucket and sign that a hash stands for.

The algorithm is Austin Appleby's, in the public domain (github.com/aappleby/smhasher). Buckets and signs equal those
of scikit-learn's ``FeatureHasher``: the absolute value of the signed hash modulo the number of buckets.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cirrus.learn.columns import Tokens, Whole, Words, words
from cirrus.learn.rows import Floats, Keys

_C1, _C2 = 0xCC9E2D51, 0x1B873593
_U32 = 0xFFFFFFFF


def murmur3_32(tokens: Tokens, prefix: bytes = b"") -> Keys:
    """The hash, with seed 0, of ``prefix`` followed by each token: uint32 of shape (n,).

    Tokens of equal length are hashed together, so the cost of a call grows with the number of different lengths.
    """
    out = np.empty(len(tokens), np.uint32)
    view = words(tokens.buffer)
    for length, which in _by_length(tokens.lengths):
        out[which] = _equal_lengths(view, tokens.starts[which], length, prefix)
    return out


def buckets(hashes: Keys, bits: int) -> Keys:
    """The bucket, below ``2**bits``, of each hash: uint32. ``bits`` is at most 30."""
    return np.abs(hashes.view(np.int32)).view(np.uint32) & np.uint32((1 << bits) - 1)


def signs(hashes: Keys) -> Floats:
    """+1 where the signed hash is 0 or more, else -1: float32."""
    return np.where(hashes.view(np.int32) >= 0, np.float32(1), np.float32(-1))


def _by_length(lengths: Whole) -> Iterator[tuple[int, Whole | slice]]:
    """Each length that occurs, and which tokens have it."""
    if not len(lengths):
        return
    low, high = int(lengths.min()), int(lengths.max())
    if low == high:
        yield low, slice(None)
        return
    # a stable sort of 16-bit integers is a radix sort, several times faster than others
    order = np.argsort(lengths.astype(np.uint16) if high < 1 << 16 else lengths, kind="stable")
    ordered = lengths[order]
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    for which in np.split(order, edges):
        yield int(lengths[which[0]]), which


def _equal_lengths(view: Words, starts: Whole, length: int, prefix: bytes) -> Keys:
    """Hash tokens of one length: the whole words of the prefix are hashed once, the rest of it joins the first word."""
    whole = len(prefix) // 4 * 4
    rest = prefix[whole:]
    state = np.full(len(starts), _hashed_words(prefix[:whole]), np.uint32)
    left = len(rest) + length
    for offset in range(0, left, 8):
        pair = view[starts + (offset - len(rest))]
        if offset == 0 and rest:
            pair &= np.uint64(~((1 << 8 * len(rest)) - 1) & 0xFFFFFFFFFFFFFFFF)
            pair |= np.uint64(int.from_bytes(rest, "little"))
        _absorb(state, pair.astype(np.uint32), left - offset)
        if left - offset > 4:
            _absorb(state, (pair >> np.uint64(32)).astype(np.uint32), left - offset - 4)
    state ^= np.uint32((len(prefix) + length) & _U32)
    _finish(state)
    return state


def _absorb(state: Keys, word: Keys, left: int) -> None:
    """Mix one word into each state, in place; of the last word only ``left`` bytes count."""
    if left < 4:
        word &= np.uint32((1 << 8 * left) - 1)
    word *= np.uint32(_C1)
    word[:] = (word << np.uint32(15)) | (word >> np.uint32(17))
    word *= np.uint32(_C2)
    state ^= word
    if left >= 4:
        state[:] = (state << np.uint32(13)) | (state >> np.uint32(19))
        state *= np.uint32(5)
        state += np.uint32(0xE6546B64)


def _finish(state: Keys) -> None:
    """Spread the last bits over the whole word, in place."""
    state ^= state >> np.uint32(16)
    state *= np.uint32(0x85EBCA6B)
    state ^= state >> np.uint32(13)
    state *= np.uint32(0xC2B2AE35)
    state ^= state >> np.uint32(16)


def _hashed_words(data: bytes) -> int:
    """The state after whole words that are the same for all tokens, starting from seed 0."""
    state = 0
    for offset in range(0, len(data), 4):
        word = int.from_bytes(data[offset : offset + 4], "little") * _C1 & _U32
        state ^= ((word << 15 | word >> 17) & _U32) * _C2 & _U32
        state = ((state << 13 | state >> 19) & _U32) * 5 + 0xE6546B64 & _U32
    return state
