"""Real files are read to the counts and statistics that are known of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from cirrus.learn.bucketing import codes, vocabulary
from cirrus.learn.columns import Columns
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import Holdout
from cirrus.learn.layouts import layout
from cirrus.learn.parsing import parser
from cirrus.learn.plans import needs
from cirrus.learn.rows import Rows
from cirrus.learn.scaling import Scan
from cirrus.sources import CsvSource, criteo, csv, libsvm
from cirrus.steps import Bucket, Hash, MinMax, Standard

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside the project, at ../shared/data"),
]


def content(name: str) -> bytes:
    data = (DATA / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


def test_criteo_tokens_and_buckets() -> None:
    source = criteo("x")
    found = parser(source).parse(content("criteo_kaggle.tsv.gz"), 1, "criteo").content
    assert isinstance(found, Columns)
    assert len(found) == 19_176
    assert found.labels.sum() == 4550
    tokens = {(name, column[k]) for name, column in found.categories.items() for k in range(len(column))}
    for name, values in found.numbers.items():
        code, rare = codes(values)
        assert not rare.any()
        tokens |= {(name, vocabulary()[one]) for one in np.unique(code)}
    assert len(tokens) == 74_340
    rows = Encoder(source, (Bucket(), Hash(18)), {}, 1 << 18).encode(found)
    assert len(np.unique(rows.indices)) == 64_534
    assert rows.indptr[-1] == 39 * 19_176


ADULT = {
    "age": (17, 90, 38.5816, 13.6402),
    "fnlwgt": (12_285, 1_484_705, 189_778.3665, 105_548.3569),
    "education_num": (1, 16, 10.0807, 2.5727),
    "capital_gain": (0, 99_999, 1077.6488, 7385.1787),
    "capital_loss": (0, 4356, 87.3038, 402.9540),
    "hours_per_week": (1, 99, 40.4375, 12.3472),
}


def test_adult_statistics() -> None:
    data = content("adult.csv.gz")
    found = layout(csv("x", label="income", positive=">50K"), data, "adult")
    assert isinstance(found.source, CsvSource)
    numbers = tuple(name for name, kind in (found.source.columns or {}).items() if kind == "number")
    assert numbers == tuple(ADULT)
    wanted = needs(found.source, (Standard(), Hash(14)))
    scan = Scan(wanted, Holdout(0.0), 0)
    body = data[len(found.header) + 1 :]
    for start in range(0, len(body), 100_000):  # in chunks of whole lines
        begin, end = body.find(b"\n", start - 1) + 1 if start else 0, body.find(b"\n", start + 99_999) + 1
        scan.add(parser(found.source).parse(body[begin : end or None], 2, "adult"), begin)
    statistics = scan.result().select(0, 0.0)
    assert statistics.moments.count[0].tolist() == [32_561] * 6
    for column, expected in enumerate(ADULT.values()):
        moments = statistics.moments
        deviation = np.sqrt(moments.spread[0, column] / 32_561)
        low, high, mean = moments.low[0, column], moments.high[0, column], moments.mean[0, column]
        assert (low, high) == expected[:2]
        assert (mean, deviation) == pytest.approx(expected[2:], abs=5.1e-5)


def test_adult_scaled() -> None:
    data = content("adult.csv.gz")
    source = csv("x", label="income", positive=">50K", columns=dict.fromkeys(ADULT, "number"))
    found = layout(source, data, "adult")
    parsed = parser(found.source).parse(data[len(found.header) + 1 :], 2, "adult")
    scan = Scan(needs(found.source, (MinMax(),)), Holdout(0.0), 0)
    scan.add(parsed, 0)
    encoder = Encoder.fit(found.source, (MinMax(),), scan.result().select(0, 0.0))
    rows = encoder.encode(parsed.content)
    assert encoder.features == 6
    assert rows.labels.sum() == 7841
    assert rows.values is not None
    assert (rows.values.min(), rows.values.max()) == (0, 1)


def test_a9a_rows_and_features() -> None:
    found = parser(libsvm("x")).parse(content("a9a.libsvm.gz"), 1, "a9a").content
    assert isinstance(found, Rows)
    assert (len(found), found.labels.sum(), found.indices.max() + 1) == (32_561, 7841, 123)
    assert found.values is None


def test_rcv1_weights_are_read_exactly() -> None:
    data = content("rcv1_small.libsvm.gz")
    found = parser(libsvm("x")).parse(data, 1, "rcv1").content
    assert isinstance(found, Rows)
    assert (len(found), found.labels.sum(), found.indices.max() + 1) == (1000, 459, 47_117)
    pairs = [token.split(b":") for token in data.split() if b":" in token]
    assert found.indices.tolist() == [int(key) - 1 for key, _ in pairs]
    assert found.values is not None
    assert found.values.tolist() == [np.float32(float(value)) for _, value in pairs]
