"""Statistics of parts are those of the whole, and rows are set aside however the input is cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import PipelineError
from cirrus.learn.columns import Columns, Parsed
from cirrus.learn.holdout import Holdout, uniform
from cirrus.learn.moments import Moments
from cirrus.learn.parse_libsvm import LibsvmParser
from cirrus.learn.scaling import Needs, Scan, SplitStatistics, TrainStatistics
from cirrus.sources import libsvm
from cirrus.steps import Every, every

MAYBE = st.one_of(st.just(float("nan")), st.floats(-1e6, 1e6))


def chunk(values: list[float], first: int = 0) -> Parsed:
    """One number column; row ``k`` stands at position ``k`` and begins at byte ``10 * (first + k)``."""
    count = len(values)
    columns = Columns(np.zeros(count, np.float32), {"a": np.array(values, np.float64)}, {})
    return Parsed(columns, np.arange(count), 10 * np.arange(first, first + count), count, count)


def gathered(parts: list[list[float]], rule: float | Every, seed: int = 0) -> TrainStatistics:
    """Each part as one split, read in two chunks; through JSON as workers send it."""
    found, first = [], 0
    for part in parts:
        scan = Scan(Needs(("a",)), Holdout(rule, seed), 3)
        half = len(part) // 2
        scan.add(chunk(part[:half], first), 0)
        scan.add(chunk(part[half:], first + half), 0)
        found.append(SplitStatistics.from_json(scan.result().to_json()).select(first, rule))
        first += len(part)
    return TrainStatistics.merged(found)


@given(st.lists(st.lists(MAYBE, max_size=12), min_size=1, max_size=4), st.integers(2, 7), st.data())
def test_parts_give_the_statistics_of_the_training_rows(
    parts: list[list[float]], count: int, data: st.DataObject
) -> None:
    rule = every(count, at=data.draw(st.integers(0, count - 1)))
    rows = np.array([value for part in parts for value in part])
    train = rows[np.arange(len(rows)) % count != rule.at]
    here = train[~np.isnan(train)]
    moments = gathered(parts, rule).moments
    assert (moments.count[0, 0], moments.missing[0, 0]) == (len(here), len(train) - len(here))
    assert moments.low[0, 0] == here.min(initial=np.inf)
    assert moments.high[0, 0] == here.max(initial=-np.inf)
    if len(here):
        assert moments.mean[0, 0] == pytest.approx(here.mean(), rel=1e-12, abs=1e-9)
        assert moments.spread[0, 0] == pytest.approx(((here - here.mean()) ** 2).sum(), rel=1e-9, abs=1e-6)


def test_a_large_offset_costs_no_digits() -> None:
    chance = np.random.default_rng(0)
    values = 1e9 + chance.random(3000)
    parts = [values[start : start + 100].tolist() for start in range(0, 3000, 100)]
    moments = gathered(parts, 0.0).moments
    assert np.sqrt(moments.spread[0, 0] / 3000) == pytest.approx(values.std(), rel=1e-7)


def test_a_fraction_of_the_rows_is_no_training_row() -> None:
    values = np.arange(1000.0)
    test = uniform(7, 3, 10 * np.arange(1000)) < 0.25
    whole, cut = gathered([values.tolist()], 0.25, 7), gathered([values[:333].tolist(), values[333:].tolist()], 0.25, 7)
    assert 200 < test.sum() < 300
    for found in (whole, cut):
        assert found.moments.count[0, 0] == (~test).sum()
        assert found.moments.mean[0, 0] == pytest.approx(values[~test].mean())


def test_skipped_rows_count_in_the_numbers_of_the_others() -> None:
    parsed = Parsed(chunk([1.0, 2.0, 4.0]).content, np.array([0, 2, 5]), np.array([0, 20, 50]), 7, 8)
    scan = Scan(Needs(("a",)), Holdout(every(3)), 0)
    scan.add(parsed, 0)
    scan.add(parsed, 0)  # at 7, 9 and 12
    found = scan.result()
    assert (found.rows, found.skipped) == (14, 8)
    for offset in range(3):
        numbers = offset + np.array([0, 2, 5, 7, 9, 12])
        expected = np.array([1.0, 2, 4, 1, 2, 4])[numbers % 3 != 0]
        assert found.select(offset, every(3)).moments.mean[0, 0] == pytest.approx(expected.mean())
        test = Holdout(every(3)).test_rows(parsed, offset, 0, 0)
        assert test.tolist() == (numbers[:3] % 3 == 0).tolist()


def test_the_highest_feature_is_that_of_training_rows() -> None:
    parsed = LibsvmParser(libsvm("x")).parse(b"1 5:1\n0\n1 2:1 9:1\n0 3:1\n", 1, "x")
    scan = Scan(Needs(highest=True), Holdout(every(2)), 0)
    scan.add(parsed, 0)
    found = SplitStatistics.from_json(scan.result().to_json())
    assert [found.select(offset, every(2)).highest for offset in (0, 1, 2)] == [3, 9, 3]
    scan = Scan(Needs(highest=True), Holdout(0.0), 0)
    scan.add(parsed, 0)
    assert scan.result().select(0, 0.0).highest == 9


def test_rows_alone_are_counted_where_nothing_else_is_needed() -> None:
    scan = Scan(Needs(), Holdout(every(1_000_000)), 0)
    scan.add(chunk([1.0, 2.0]), 0)
    found = scan.result()
    assert (found.rows, found.moments.count.shape, len(found.highest)) == (2, (1, 0), 1)
    with pytest.raises(PipelineError, match=r"prepare\.test"):
        Scan(Needs(("a",)), Holdout(every(1001)), 0)


def test_chance_is_even_and_differs_by_seed_object_and_place() -> None:
    offsets = np.arange(100_000, dtype=np.int64) * 37
    numbers = uniform(1, 0, offsets)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.histogram(numbers, 10, (0, 1))[0] == pytest.approx([10_000] * 10, rel=0.05)
    for other in (uniform(2, 0, offsets), uniform(1, 1, offsets), uniform(1, 0, offsets + 1)):
        assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.02
    assert uniform(2**63 - 1, 5, offsets[:3]).tolist() == uniform(2**63 - 1, 5, offsets).tolist()[:3]


GOOD = json.loads(SplitStatistics(3, 1, ("a",), Moments.empty(2, 1), np.zeros(2, np.int64)).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"rows": "3"},
        {"skipped": None},
        {"columns": [1]},
        {"columns": ["a", "b"]},
        {"highest": 1},
        {"highest": ["x"]},
        {"moments": []},
        {"moments": [[["x"]]] * 6},
        {"more": 1},
    ],
)
def test_other_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PipelineError, match="statistics"):
        SplitStatistics.from_json(json.dumps(GOOD | change))


def test_text_that_is_no_json_is_refused() -> None:
    for text in ("", "[]", "3", "{", '{"rows": 1}'):
        with pytest.raises(PipelineError, match="statistics"):
            SplitStatistics.from_json(text)
