"""Local indices without sorting are those that np.unique finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.learn import localise
from cirrus.learn.localise import Localiser, compact
from cirrus.learn.rows import Rows

pytestmark = pytest.mark.usefixtures("loops")


def some_rows(seed: int, count: int, features: int) -> Rows:
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, count))])
    indices = rng.integers(0, features, indptr[-1]).astype(np.uint32)
    return Rows(np.zeros(count, np.float32), indptr, indices, rng.normal(size=indptr[-1]).astype(np.float32))


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 200), features=st.sampled_from([1, 7, 500, 2**30]))
def test_compact_is_unique(seed: int, count: int, features: int) -> None:
    indices = np.random.default_rng(seed).integers(0, features, count).astype(np.uint32)
    keys, places = compact(indices, features)
    wanted, inverse = np.unique(indices, return_inverse=True)
    assert keys.dtype == np.uint32
    np.testing.assert_array_equal(keys, wanted)
    np.testing.assert_array_equal(places, inverse)


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40), features=st.sampled_from([1, 30, 2**29]))
def test_a_minibatch_has_the_keys_and_places_that_unique_finds(seed: int, count: int, features: int) -> None:
    rng = np.random.default_rng(seed)
    rows = some_rows(seed, count, features)
    localiser = Localiser(rows, features)
    for _ in range(4):  # in any order, overlapping, some twice: nothing may stick
        start, stop = sorted(rng.integers(0, count + 1, 2))
        keys, local = localiser.minibatch(start, stop)
        part = rows.slice(start, stop)
        wanted, inverse = np.unique(part.indices, return_inverse=True)
        assert keys.dtype == local.indices.dtype == np.uint32
        np.testing.assert_array_equal(keys, wanted)
        np.testing.assert_array_equal(local.indices, inverse)
        np.testing.assert_array_equal(local.indptr, part.indptr)
        np.testing.assert_array_equal(local.values, part.values)
        np.testing.assert_array_equal(local.labels, part.labels)


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 60),
    features=st.sampled_from([1, 30, 2**29]),
    size=st.integers(1, 25),
    first=st.integers(0, 3),
)
def test_a_blocks_minibatches_are_those_of_its_rows_with_a_last_key(
    seed: int, count: int, features: int, size: int, first: int
) -> None:
    rows = some_rows(seed, count, features)
    marks = localise.marks_for(features)
    found = list(Localiser(rows, features, marks).minibatches(size, first, features))
    assert len(found) == max(0, -(-count // size) - first)
    for number, (keys, local) in enumerate(found, first):
        wanted, part = Localiser(rows, features).minibatch(number * size, min((number + 1) * size, count))
        assert keys.dtype == local.indices.dtype == np.uint32
        assert keys.tolist() == [*wanted.tolist(), features]
        for name in ("labels", "indptr", "indices", "values"):
            np.testing.assert_array_equal(getattr(local, name), getattr(part, name))


def test_both_ways_to_find_keys_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    indices = np.random.default_rng(0).integers(0, 1000, 5000).astype(np.uint32)
    marked = compact(indices, 1000)
    monkeypatch.setattr(localise, "MOST_MARKS", 0)
    by_sorting = compact(indices, 1000)
    np.testing.assert_array_equal(marked[0], by_sorting[0])
    np.testing.assert_array_equal(marked[1], by_sorting[1])
    assert [array.dtype for array in marked] == [array.dtype for array in by_sorting]


def test_rows_without_values_stay_so() -> None:
    rows = Rows(np.ones(2, np.float32), np.array([0, 2, 3]), np.array([5, 1, 5], np.uint32))
    keys, local = Localiser(rows, 6).minibatch(0, 2)
    assert keys.tolist() == [1, 5]
    assert local.indices.tolist() == [1, 0, 1]
    assert local.values is None
