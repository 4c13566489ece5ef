"""Encoders do what the steps say, in training as in prediction, and survive JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import murmurhash3_32

from cirrus.errors import InputError, PipelineError
from cirrus.learn.bucketing import codes, vocabulary
from cirrus.learn.columns import Columns, Tokens
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import Holdout
from cirrus.learn.parsing import parser
from cirrus.learn.plans import needs
from cirrus.learn.records import Record
from cirrus.learn.rows import Rows
from cirrus.learn.scaling import Scan
from cirrus.sources import CriteoSource, CsvSource, Kind, LibsvmSource, Source, criteo
from cirrus.steps import Bucket, Hash, MinMax, Standard, Step

NUMBERS = CsvSource(path="x", label="y", names=("a", "b", "y"), columns={"a": "number", "b": "number"})
MIXED = CsvSource(path="x", label="y", names=("a", "c", "y"), columns={"a": "number", "c": "category"})


def fitted(source: Source, steps: tuple[Step, ...], data: bytes) -> Encoder:
    scan = Scan(needs(source, steps), Holdout(0.0), 0)
    scan.add(parser(source).parse(data, 1, "x"), 0)
    return Encoder.fit(source, steps, scan.result().select(0, 0.0))


def encoded(source: Source, steps: tuple[Step, ...], data: bytes) -> Rows:
    return fitted(source, steps, data).encode(parser(source).parse(data, 1, "x").content)


def dense(rows: Rows, features: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    out = np.zeros((len(rows), features))
    values = np.ones(len(rows.indices)) if rows.values is None else rows.values
    np.add.at(out, (np.repeat(np.arange(len(rows)), np.diff(rows.indptr)), rows.indices.astype(np.int64)), values)
    return out


def bucket(token: str, bits: int = 18) -> int:
    return int(abs(murmurhash3_32(token.encode()))) % (1 << bits)


def sign(token: str) -> float:
    return 1.0 if murmurhash3_32(token.encode()) >= 0 else -1.0


def token(value: float) -> str:
    """The token of a whole number as Python computes it."""
    if math.isnan(value):
        return "NA"
    whole = math.floor(value)
    return str(whole) if whole <= 2 else f"L{math.floor(math.log(whole) ** 2)}"


WHOLES = st.one_of(st.integers(-30, 30), st.integers(-(2**60), 2**60), st.integers(65_000, 66_000)).map(float)


@given(st.lists(st.one_of(WHOLES, st.just(math.nan), st.floats(-100, 1e12)), min_size=1, max_size=30))
def test_buckets_are_those_of_python(values: list[float]) -> None:
    source = CsvSource(path="x", label="y", names=("a", "y"), columns={"a": "number"})
    encoder = Encoder(source, (Bucket(), Hash(18)), {}, 1 << 18)
    rows = encoder.encode(Columns(np.zeros(len(values), np.float32), {"a": np.array(values)}, {}))
    assert rows.indices.tolist() == [bucket(f"a:{token(value)}") for value in values]


def test_every_level_begins_where_python_says() -> None:
    edges = np.exp(np.sqrt(np.arange(1, 462)))
    values = np.concatenate([np.arange(3, 70_000), edges[edges > 4] - 1, edges[edges > 4], edges[edges > 4] + 1])
    found, rare = codes(values)
    assert not rare.any()
    assert [vocabulary()[code].decode() for code in found] == [token(value) for value in values]


def test_criteo_tokens_are_hashed_in_the_order_of_the_columns() -> None:
    source = CriteoSource(path="x", integers=("I1", "I2"), categories=("C1", "C2"))
    rows = encoded(source, (Bucket(), Hash(18)), b"1\t5\t-2\tab\t\n0\t\t2\t\tx\n")
    tokens = [["I1:L2", "I2:-2", "C1:ab", "C2:NA"], ["I1:NA", "I2:2", "C1:NA", "C2:x"]]
    assert rows.indices.tolist() == [bucket(token) for row in tokens for token in row]
    assert rows.indptr.tolist() == [0, 4, 8]
    assert rows.values is None
    assert rows.labels.tolist() == [1, 0]
    signed = encoded(source, (Bucket(), Hash(10, signed=True)), b"1\t5\t-2\tab\t\n0\t\t2\t\tx\n")
    assert signed.indices.tolist() == [bucket(token, 10) for row in tokens for token in row]
    assert signed.values is not None
    assert signed.values.tolist() == [sign(token) for row in tokens for token in row]


def test_hashed_numbers_are_values_of_their_name() -> None:
    data = b"2.5,u,1\n,,0\n0,v,1\n"
    rows = encoded(MIXED, (Hash(20),), data)
    assert rows.indices.tolist() == [bucket(one, 20) for one in ("a", "c:u", "a:NA", "c:NA", "a", "c:v")]
    assert rows.values is not None
    assert rows.values.tolist() == [2.5, 1, 1, 1, 0, 1]
    signed = encoded(MIXED, (Hash(20, signed=True),), data)
    assert signed.values is not None
    assert signed.values.tolist() == [2.5 * sign("a"), sign("c:u"), sign("a:NA"), sign("c:NA"), 0, sign("c:v")]


def test_scalers_are_those_of_scikit_learn() -> None:
    chance = np.random.default_rng(3)
    data = np.round(chance.normal(50, 20, (60, 2)), 3)
    text = b"".join(b"%r,%r,1\n" % (float(a), float(b)) for a, b in data)
    for steps, scaler in (((MinMax(),), MinMaxScaler()), ((Standard(),), StandardScaler())):
        rows = encoded(NUMBERS, steps, text)
        assert dense(rows, 2) == pytest.approx(scaler.fit_transform(data), abs=1e-6)
    both = encoded(NUMBERS, (MinMax(("a",)), Standard()), text)
    scaled = np.stack([MinMaxScaler().fit_transform(data)[:, 0], data[:, 1]], axis=1)
    assert dense(both, 2) == pytest.approx(StandardScaler().fit_transform(scaled), abs=1e-5)


def test_constant_columns_become_0_and_missing_numbers_stay_out() -> None:
    for steps in ((MinMax(),), (Standard(),), (Standard(), MinMax())):
        rows = encoded(NUMBERS, steps, b"3,,1\n3,,0\n,,1\n")
        assert rows.indptr.tolist() == [0, 1, 2, 2]
        assert rows.indices.tolist() == [0, 0]
        assert (rows.values if rows.values is not None else np.ones(2)).tolist() == [0, 0]


def test_values_outside_the_training_range_are_not_clipped_but_finite() -> None:
    encoder = fitted(NUMBERS, (MinMax(),), b"1,1e-30,1\n3,2e-30,0\n")
    rows = encoder.encode(parser(NUMBERS).parse(b"5,3e38,1\n-1,0,1\n", 1, "x").content)
    assert rows.values is not None
    assert rows.values[[0, 2]].tolist() == [2, -1]
    assert np.isfinite(rows.values).all()


def test_without_steps_numbers_are_features() -> None:
    rows = encoded(NUMBERS, (), b"1.5,0,1\n,2,0\n")
    assert rows.indices.tolist() == [0, 1, 1]
    assert (rows.values if rows.values is not None else np.ones(3)).tolist() == [1.5, 0, 2]


@pytest.mark.parametrize(
    ("source", "steps", "field", "given_"),
    [
        (MIXED, (), "prepare.steps", "c"),
        (MIXED, (MinMax(),), "prepare.steps", "c"),
        (NUMBERS, (Bucket(("a",)),), "prepare.steps", "a"),
        (NUMBERS, (Standard(("z",)),), "Standard.columns", "z"),
        (MIXED, (MinMax(("c",)), Hash(4)), "MinMax.columns", "c"),
        (MIXED, (Bucket(("a",)), MinMax(("a",)), Hash(4)), "MinMax.columns", "a"),
        (CsvSource(path="x", label="y", names=("y",), columns={}), (Hash(4),), "data.columns", ()),
        (CsvSource(path="x", label="y"), (Hash(4),), "data", CsvSource(path="x", label="y")),
        (NUMBERS, (Hash(4), MinMax()), "prepare.steps", (Hash(4), MinMax())),
    ],
)
def test_steps_that_do_not_fit_the_columns_are_named(
    source: Source, steps: tuple[Step, ...], field: str, given_: object
) -> None:
    for use in (needs, lambda source, steps: Encoder(source, steps, {}, 4)):
        with pytest.raises(PipelineError) as caught:
            use(source, steps)
        assert (caught.value.field, caught.value.given) == (field, given_)


def test_sparse_rows_pass_without_unknown_features() -> None:
    encoder = fitted(LibsvmSource(path="x"), (), b"1 2:1 5:3\n")
    assert encoder.features == 5
    found = parser(encoder.source).parse(b"1 1:1 6:2\n0 7:1\n1 5:1 9:9\n", 1, "x").content
    rows = encoder.encode(found)
    assert rows.indptr.tolist() == [0, 1, 1, 2]
    assert rows.indices.tolist() == [0, 4]
    assert rows.values is not None
    assert rows.values.tolist() == [1, 1]
    assert fitted(LibsvmSource(path="x", features=9), (), b"1 2:1\n").features == 9
    with pytest.raises(PipelineError, match="at least one feature"):
        fitted(LibsvmSource(path="x"), (), b"1\n0\n")


ENCODERS = (
    (criteo("x"), (Bucket(), Hash(18)), b""),
    (MIXED, (Standard(), Hash(6, signed=True)), b"1,u,1\n4,v,0\n"),
    (NUMBERS, (MinMax(("a",)), Standard(), MinMax(("b",))), b"1,3,1\n4,9,0\n7.25,1,0\n"),
    (LibsvmSource(path="x"), (), b"1 3:1\n"),
)


@pytest.mark.parametrize(("source", "steps", "data"), ENCODERS)
def test_an_encoder_survives_json(source: Source, steps: tuple[Step, ...], data: bytes) -> None:
    encoder = fitted(source, steps, data)
    again = Encoder.from_json(encoder.to_json())
    assert (again.features, again.steps, again.scalings) == (encoder.features, encoder.steps, encoder.scalings)
    assert again.to_json() == encoder.to_json()
    content = parser(source).parse(data, 1, "x").content
    before, after = encoder.encode(content), again.encode(content)
    assert before.indices.tolist() == after.indices.tolist()
    assert (before.values is None) == (after.values is None)
    if before.values is not None and after.values is not None:
        assert before.values.tolist() == after.values.tolist()


GOOD = json.loads(fitted(*ENCODERS[1]).to_json())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"more": 1},
        {"features": "4"},
        {"features": 0},
        {"features": 2**31},
        {"scalings": {}},
        {"scalings": {"a": [[1, 2], [3, 4]]}},
        {"scalings": {"a": [[1, "x"]]}},
        {"scalings": {"a": [[1, 1e999]]}},
        {"scalings": {"a": 3}},
        {"scalings": []},
        {"steps": [{"step": "Hash", "bits": 99, "signed": False}]},
        {"steps": [{"step": "Hash", "bits": True, "signed": False}]},
        {"steps": [{"step": "Hash", "bits": 4, "signed": 1}]},
        {"steps": [{"step": "Other", "columns": None}]},
        {"steps": [{"step": "MinMax", "columns": "a"}]},
        {"steps": [{"step": "MinMax"}]},
        {"steps": [3]},
        {"steps": None},
        {"source": {"format": "parquet"}},
        {"source": {"format": "csv"}},
        {"source": GOOD["source"] | {"columns": [["a", "date"]]}},
        {"source": GOOD["source"] | {"columns": {"a": "number"}}},
        {"source": GOOD["source"] | {"delimiter": "::"}},
        {"source": GOOD["source"] | {"label": None}},
        {"source": GOOD["source"] | {"names": [1]}},
        {"source": {"format": "libsvm", "features": "9"}},
        {"source": None},
    ],
)
def test_other_json_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PipelineError):
        Encoder.from_json(json.dumps(GOOD | change))


def test_text_that_is_no_json_is_refused() -> None:
    for text in ("", "{", "[]", "null", "[" * 100_000):
        with pytest.raises(PipelineError, match="encoder"):
            Encoder.from_json(text)


LINES = ("1.5,u,1", "2,,0", ',"v,w",1')


@pytest.mark.parametrize(
    "records",
    [
        [*LINES],
        [line.encode() + b"\r\n" for line in LINES],
        [line.rpartition(",")[0] for line in LINES],
        [{"a": 1.5, "c": "u"}, {"a": 2, "c": None}, {"c": b"v,w", "a": None, "y": 0}],
        [{"a": "1.5", "c": "u"}, {"a": np.int64(2)}, {"c": "v,w", "a": math.nan}],
    ],
)
def test_records_are_encoded_like_rows_of_the_file(records: Sequence[Record]) -> None:
    encoder = fitted(MIXED, (Standard(), Hash(16)), "\n".join(LINES).encode())
    expected = encoder.encode(parser(MIXED).parse("\n".join(LINES).encode(), 1, "x").content)
    found = encoder.rows_from_records(records)
    assert found.indices.tolist() == expected.indices.tolist()
    assert found.values is not None
    assert expected.values is not None
    assert found.values.tolist() == expected.values.tolist()


def test_records_of_criteo_and_libsvm() -> None:
    encoder = Encoder(criteo("x"), (Bucket(), Hash(18)), {}, 1 << 18)
    line = "\t".join(["1", *map(str, range(13)), *"abcdefghijklmnopqrstuvwxyz"])
    expected = encoder.rows_from_records([line]).indices.tolist()
    assert encoder.rows_from_records([line[2:]]).indices.tolist() == expected
    numbers: dict[str, object] = {f"I{k + 1}": k for k in range(13)}
    record = numbers | {f"C{k + 1}": letter for k, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    assert encoder.rows_from_records([record]).indices.tolist() == expected
    sparse = Encoder(LibsvmSource(path="x"), (), {}, 9)
    for records in (["1 2:3 9:4 11:1"], ["2:3 9:4"], [{2: 3, 9: 4.0, 12: 5}]):
        rows = sparse.rows_from_records(records)
        assert rows.indices.tolist() == [1, 8]
        assert (rows.values if rows.values is not None else np.ones(2)).tolist() == [3, 4]


@pytest.mark.parametrize(
    ("records", "line", "problem"),
    [
        (["1,u,1", ""], 2, "one line that is not blank"),
        (["1,u,1\n2,v,1"], 1, "one line that is not blank"),
        (["1,u,1", "x,u,1"], 2, "'x' is no number"),
        (["1,u,1", {"a": 1}], 2, "all mappings or all lines"),
        ([{"a": 1}, {"a": "x"}], 2, "'x' is no number"),
        ([{"a": math.inf}], 1, "'inf' is no number"),
        ([{"A": 1}], 1, "no such column; there are 'a', 'c'"),
    ],
)
def test_bad_records_are_named(records: Sequence[Record], line: int, problem: str) -> None:
    encoder = Encoder(MIXED, (Hash(4),), {}, 16)
    with pytest.raises(InputError, match=problem) as caught:
        encoder.rows_from_records(records)
    assert (caught.value.name, caught.value.line) == ("record", line)


@pytest.mark.parametrize("record", [{0: 1.0}, {"a": 1.0}, {1: math.inf}, {1: "x"}, {2**31: 1}])
def test_bad_sparse_records_are_refused(record: Record) -> None:
    with pytest.raises(InputError, match=r"ids must be|no finite number"):
        Encoder(LibsvmSource(path="x"), (), {}, 9).rows_from_records([record])


def test_no_records_are_no_rows() -> None:
    kinds: dict[str, Kind] = {"a": "number"}
    source = CsvSource(path="x", label="y", names=("a", "y"), columns=kinds)
    assert len(Encoder(source, (), {}, 1).rows_from_records([])) == 0
    assert len(Encoder(criteo("x"), (Hash(4),), {}, 16).rows_from_records([])) == 0


def test_tokens_are_read_back() -> None:
    assert [Tokens.of([b"a", b"", b"\0b"])[k] for k in range(3)] == [b"a", b"", b"\0b"]
