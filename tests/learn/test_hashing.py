"""Hashes, buckets and signs are bit for bit those of scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction import FeatureHasher
from sklearn.utils import murmurhash3_32

from cirrus.learn.columns import Tokens
from cirrus.learn.hashing import buckets, murmur3_32, signs

TOKENS = st.lists(st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode)), max_size=30)


@given(TOKENS, st.binary(max_size=13))
def test_hashes_are_those_of_scikit_learn(tokens: list[bytes], prefix: bytes) -> None:
    expected = [murmurhash3_32(prefix + token, 0, positive=True) for token in tokens]
    assert murmur3_32(Tokens.of(tokens), prefix).tolist() == expected


def test_long_tokens_and_many_lengths() -> None:
    chance = np.random.default_rng(5)
    tokens = [chance.bytes(length) for length in (*range(300), 4096, 70_000)]
    expected = [murmurhash3_32(token, 0, positive=True) for token in tokens]
    assert murmur3_32(Tokens.of(tokens)).tolist() == expected


@pytest.mark.parametrize("bits", [1, 8, 18, 30])
@pytest.mark.parametrize("signed", ["counted", "signed"])
def test_buckets_and_signs_are_those_of_the_feature_hasher(bits: int, signed: str) -> None:
    tokens = [f"C{k}:ü{k * k:x}" for k in range(500)]
    hasher = FeatureHasher(1 << bits, input_type="string", alternate_sign=signed == "signed")
    expected = hasher.transform([[token] for token in tokens]).tocsr()
    hashes = murmur3_32(Tokens.of([token.encode() for token in tokens]))
    assert buckets(hashes, bits).tolist() == expected.indices.tolist()
    if signed == "signed":
        assert signs(hashes).tolist() == expected.data.tolist()


def test_the_smallest_signed_hash_has_a_bucket_and_a_sign() -> None:
    hashes = np.array([0x80000000, 0, 0x7FFFFFFF, 0xFFFFFFFF], np.uint32)
    assert buckets(hashes, 18).tolist() == [0, 0, 2**18 - 1, 1]
    assert signs(hashes).tolist() == [-1, 1, 1, -1]


def test_no_tokens_have_no_hashes() -> None:
    assert murmur3_32(Tokens.of([])).tolist() == []
