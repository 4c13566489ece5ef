"""Each compiled loop and its twin of numpy give the same numbers, side by side on the same input."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cirrus.learn.base import TableSpec
from cirrus.learn.localise import compact, marks_for
from cirrus.learn.logistic import Logistic
from cirrus.learn.rows import Rows
from cirrus.learn.tables import Table
from cirrus.models import LogisticRegression
from cirrus.native.choice import SWITCH, Kernels, kernels
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

ALL: tuple[Optimizer, ...] = (SGD(), Momentum(), Nesterov(), Adagrad(), Adam(beta1=0.0), Adam(), FTRL(), FTRL(0.1, 0.0))
WITH_L1 = (SGD, Adagrad, FTRL)
SEEDS = st.integers(0, 2**32 - 1)

pytestmark = pytest.mark.skipif(kernels() is None, reason="nothing was compiled here")


@contextmanager
def by(loops: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SWITCH, "0" if loops == "numpy" else "1")
        yield


def near(mine: NDArray[np.generic], theirs: NDArray[np.generic]) -> None:
    np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-6)  # type: ignore[arg-type]


def compiled() -> Kernels:
    found = kernels()
    assert found is not None
    return found


def test_the_switch_turns_them_off() -> None:
    with by("numpy"):
        assert kernels() is None


@given(
    optimizer=st.sampled_from(ALL),
    width=st.sampled_from([1, 2, 5]),
    penalties=st.tuples(st.sampled_from([0.0, 1e-6, 1e-2, 1.0]), st.sampled_from([0.0, 1e-3])),
    stale=st.sampled_from(["damp", "apply"]),
    seed=SEEDS,
)
def test_tables(
    optimizer: Optimizer, width: int, penalties: tuple[float, float], stale: str, seed: int
) -> None:
    l2, l1 = penalties
    spec = TableSpec(
        "t", 40, width, optimizer, l2, l1 if isinstance(optimizer, WITH_L1) else 0.0, 39, stale  # type: ignore[arg-type]
    )  # fmt: skip
    with by("numpy"):
        plain = Table(spec, 0, 1)
    with by("compiled"):
        fast = Table(spec, 0, 1)
    rng = np.random.default_rng(seed)
    under_way = []
    for _ in range(30):
        keys = np.flatnonzero(rng.random(40) < 0.4).astype(np.uint32)
        pulled = plain.pull(plain.local(keys)), fast.pull(fast.local(keys))
        near(*pulled)
        under_way.append((keys, *pulled))
        if len(under_way) == 3:
            keys, mine, theirs = under_way.pop(0)
            gradient = rng.normal(size=(len(keys), width)).astype(np.float32)
            plain.push(plain.local(keys), gradient, mine)
            fast.push(fast.local(keys), gradient, theirs)
        # What has been rounded otherwise must not add up over the steps: each begins with the same numbers.
        for name, array in fast.arrays().items():
            near(plain.arrays()[name], array)
        plain.restore(fast.arrays(), fast.clock)
    near(plain.weights(), fast.weights())
    assert plain.clock == fast.clock


def some_rows(seed: int, count: int, features: int, valued: str) -> Rows:
    rng = np.random.default_rng(seed)
    indptr = np.concatenate([[0], np.cumsum(rng.integers(0, 9, count))]).astype(np.int64)
    indices = rng.integers(0, features, indptr[-1]).astype(np.uint32)
    values = rng.normal(size=indptr[-1]).astype(np.float32) if valued == "values" else None
    return Rows((rng.random(count) < 0.4).astype(np.float32), indptr, indices, values)


@given(SEEDS, st.integers(0, 60), st.sampled_from([1, 50, 5000]), st.sampled_from(["values", ""]))
def test_minibatches(seed: int, count: int, features: int, valued: str) -> None:
    rows = some_rows(seed, count, features, valued)
    weights = np.random.default_rng(seed).normal(size=(features + 1, 1)).astype(np.float32)
    found = []
    for loops in ("numpy", "compiled"):
        with by(loops):
            kernel = Logistic(LogisticRegression(), features, SGD())
            order = np.random.default_rng(seed).permutation(count)
            batches = list(kernel.batches(rows.take(order), 7))
            found.append([(one, kernel.gradient(one, (weights[one.keys[0]],))) for one in batches])
    for (mine, gradient), (theirs, same) in zip(*found, strict=True):
        np.testing.assert_array_equal(mine.keys[0], theirs.keys[0])
        for field in ("labels", "indptr", "indices", "values"):
            np.testing.assert_array_equal(getattr(mine.rows, field), getattr(theirs.rows, field))
        near(gradient.tables[0], same.tables[0])
        assert gradient.loss == pytest.approx(same.loss, rel=1e-6, abs=1e-6)


@given(st.lists(st.integers(0, 9000), max_size=300))
@example([63, 64, 4095, 4096, 8191, 0])
def test_distinct_keys(indices: list[int]) -> None:
    marks = marks_for(9001)
    for _ in range(2):  # nothing may stick
        keys, places = compact(np.array(indices, np.uint32), 9001, marks)
        wanted, inverse = np.unique(np.array(indices, np.uint32), return_inverse=True)
        np.testing.assert_array_equal(keys, wanted)
        np.testing.assert_array_equal(places, inverse)


@given(st.binary(max_size=700), st.integers(0, 2**32 - 1), st.integers(0, 40))
def test_checksums(data: bytes, value: int, repeat: int) -> None:
    crc32 = getattr(compiled(), "crc32", zlib.crc32)  # only where the processor can
    whole = data * repeat
    assert crc32(whole) == zlib.crc32(whole)
    assert crc32(memoryview(whole)[repeat:], value) == zlib.crc32(whole[repeat:], value)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20), st.integers(0, 2**32))
@example([0, 2**31, 2**32 - 1], 2**32)
@example([5, 5], 9)
def test_ascending_keys(keys: list[int], limit: int) -> None:
    ordered = sorted(set(keys))
    for some in (keys, ordered):
        wanted = some == ordered and all(key < limit for key in some)
        assert compiled().ascends(np.array(some, np.uint32), limit) is wanted


@given(st.lists(st.floats(width=32), max_size=20))
@example([1e6, -1e6])
@example([float("nan")])
@example([np.float32(1000001.0).item()])
def test_sane_numbers(numbers: list[float]) -> None:
    assert compiled().sane(np.array(numbers, np.float32), 1e6) is all(abs(one) <= 1e6 for one in numbers)


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    table = Table(TableSpec("t", 5, 2, Adagrad()), 0, 1)
    keys, gradient = np.array([1, 2], np.uint32), np.ones((2, 2), np.float32)
    wrong: list[tuple[type[Exception], tuple[object, ...]]] = [
        (IndexError, (np.array([1, 5], np.uint32), gradient)),
        (IndexError, (np.array([-1, 2]), gradient)),
        (ValueError, (keys, np.ones((3, 2), np.float32))),
        (ValueError, (keys[::2], gradient, gradient)),
        (TypeError, (keys, np.ones((2, 2)))),
        (TypeError, (keys.astype(np.uint16), gradient)),
        ((BufferError, ValueError), (keys, np.ones((2, 4), np.float32)[:, ::2])),  # type: ignore[list-item]
    ]
    for error, arguments in wrong:
        with pytest.raises(error):
            table.push(*arguments)  # type: ignore[arg-type]
    assert not table.weights().any()
    assert table.clock == 0


def test_rows_that_are_none_are_refused() -> None:
    ones = np.ones(3, np.float32)
    starts, places = np.array([0, 1, 2, 3]), np.zeros(3, np.uint32)
    good: list[Any] = [ones, starts, places, ones, ones[:2], np.empty(2, np.float32)]
    assert compiled().logistic(*good) > 0.0
    for at, bad in (
        (1, np.array([0, 2, 1, 3])), (1, np.array([-1, 1, 2, 3])), (1, np.array([0, 1, 2, 4])), (1, starts[:3]),
        (2, np.array([0, 0, 2], np.uint32)), (3, ones[:2]), (4, ones[:0]), (5, np.empty(3, np.float32)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="fit"):
            compiled().logistic(*[bad if at == one else item for one, item in enumerate(good)])
    rows = Rows(ones, starts, places)
    for order in ([3], [-1], [0, 1, 2, 0, 5]):
        with pytest.raises((ValueError, IndexError)):
            rows.take(np.array(order))
