"""A trained model predicts from whatever holds rows, lasts as one file, and goes to scikit-learn."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import safetensors.numpy
import scipy.sparse

from cirrus.errors import Corrupt, InputError, NotFound, PipelineError, StoreError
from cirrus.learn.encoding import Encoder
from cirrus.learn.logistic import Logistic
from cirrus.learn.rows import Rows
from cirrus.modelfile import KEY, MOST_HEADER
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.sources import CriteoSource, LibsvmSource
from cirrus.steps import Bucket, Hash
from cirrus.trained import Model

FEATURES = 20


@dataclass(frozen=True, slots=True)
class Mine(ModelSpec):
    """Somebody's own model."""

    kernel: ClassVar[str] = "tests.api.test_trained:MineKernel"

    slope: float = 1.0


class MineKernel(Logistic):
    """Logistic regression under another name."""

    def __init__(self, spec: Mine, features: int, optimizer: Any) -> None:
        super().__init__(LogisticRegression(l2=spec.slope), features, optimizer)


def a_model(spec: ModelSpec | None = None) -> Model:
    weights = np.random.default_rng(1).normal(size=(FEATURES + 1, 1)).astype(np.float32)
    encoder = Encoder(LibsvmSource(path="x", features=FEATURES), (), {}, FEATURES)
    metrics = {"log_loss": 0.5, "auc": math.nan, "samples": 100}
    return Model(spec or LogisticRegression(l2=1e-6), encoder, {"weights": weights}, metrics)


def some_rows(count: int = 50) -> Any:
    return scipy.sparse.random_array((count, FEATURES), density=0.3, rng=np.random.default_rng(2), format="csr")


def as_rows(matrix: Any) -> Rows:
    return Rows(
        np.zeros(matrix.shape[0], np.float32), matrix.indptr.astype(np.int64), matrix.indices.astype(np.uint32),
        matrix.data.astype(np.float32),
    )  # fmt: skip


def test_every_kind_of_rows_gives_the_same_margins() -> None:
    model, matrix = a_model(), some_rows()
    wanted = matrix @ model.weights["weights"][:-1, 0].astype(float) + float(model.weights["weights"][-1, 0])
    records = [{k + 1: value for k, value in enumerate(row) if value} for row in matrix.toarray().tolist()]
    lines = [" ".join(f"{key}:{value!r}" for key, value in sorted(one.items())) for one in records]
    lines = [f"1 {line}" for line in lines]
    old = scipy.sparse.csr_matrix(matrix)
    for rows in (as_rows(matrix), matrix, matrix.tocsc(), old, matrix.toarray(), records, lines):
        found = model.decision_function(rows)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_chances_and_labels_follow_from_the_margins() -> None:
    model, matrix = a_model(), some_rows()
    margins = model.decision_function(matrix).astype(float)
    chances = model.predict_proba(matrix)
    assert chances.shape == (50, 2)
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-margins)), atol=1e-12)
    assert model.predict(matrix).tolist() == [int(one > 0) for one in margins]


def test_clicks_are_predicted_from_their_columns_and_from_their_lines() -> None:
    encoder = Encoder(CriteoSource(path="x"), (Bucket(), Hash(bits=8)), {}, 256)
    weights = np.random.default_rng(1).normal(size=(257, 1)).astype(np.float32)
    model = Model(LogisticRegression(), encoder, {"weights": weights}, {})
    columns = [{"I1": 5, "I2": -1, "C1": "68fd1e64"}, {"I13": 1, "C26": "80e26c9b"}]
    names = [f"I{k}" for k in range(1, 14)] + [f"C{k}" for k in range(1, 27)]
    lines = ["1\t" + "\t".join(str(row.get(name, "")) for name in names) for row in columns]
    np.testing.assert_array_equal(model.predict_proba(columns), model.predict_proba(lines))


def test_many_rows_are_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = a_model().decision_function(some_rows())
    monkeypatch.setattr("cirrus.trained.AT_ONCE", 7)
    np.testing.assert_array_equal(a_model().decision_function(some_rows()), whole)
    assert a_model().decision_function(some_rows(0)).shape == (0,)
    assert a_model().predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((3, FEATURES + 1)),
        np.zeros(FEATURES),
        np.full((1, FEATURES), math.nan),
        np.full((1, FEATURES), 1e300),
        np.full((1, FEATURES), "x"),
        scipy.sparse.csr_array((3, FEATURES - 1)),
        Rows(np.zeros(1, np.float32), np.array([0, 1]), np.array([FEATURES], np.uint32)),
        [3],
    ],
    ids=["wide", "flat", "nan", "infinite", "text", "narrow", "beyond", "number"],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_rows_that_do_not_fit_are_refused(rows: Any) -> None:
    with pytest.raises(InputError):
        a_model().decision_function(rows)


def test_weights_must_be_the_models() -> None:
    model = a_model()
    small = np.zeros((3, 1), np.float32)
    for weights in ({}, {"weights": small}, {**model.weights, "more": small}):
        with pytest.raises(PipelineError, match=r"model\.weights"):
            Model(model.spec, model.encoder, weights, {})


def test_a_saved_model_is_the_same_model(tmp_path: Path) -> None:
    model, matrix = a_model(), some_rows()
    path = tmp_path / "clicks.safetensors"
    path.write_bytes(b"an older file")
    model.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = Model.load(str(path))
    assert loaded.spec == model.spec
    assert loaded.encoder.to_json() == model.encoder.to_json()
    assert {**loaded.metrics, "auc": 0} == {**model.metrics, "auc": 0}
    assert math.isnan(loaded.metrics["auc"])
    np.testing.assert_array_equal(loaded.decision_function(matrix), model.decision_function(matrix))


def test_any_safetensors_reader_opens_the_file(tmp_path: Path) -> None:
    a_model().save(tmp_path / "m.safetensors")
    tables = safetensors.numpy.load_file(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(tables["weights"], a_model().weights["weights"])


def test_files_that_are_not_there_or_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Model.load(tmp_path / "none")
    with pytest.raises(StoreError):
        Model.load(tmp_path)
    with pytest.raises(StoreError):
        a_model().save(tmp_path / "no folder" / "m")


def rewritten(document: object, weights: np.ndarray[Any, Any] | None = None) -> bytes:
    tables = {"weights": a_model().weights["weights"] if weights is None else weights}
    return safetensors.numpy.save(tables, {KEY: json.dumps(document)})


def document() -> dict[str, Any]:
    data = a_model().to_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    return found


def test_the_document_of_this_version_is_read() -> None:
    assert Model.from_bytes(rewritten(document())).spec == LogisticRegression(l2=1e-6)


def test_another_version_says_so() -> None:
    with pytest.raises(Corrupt, match=r"^models/m: .*version 2; this cirrus reads version 1"):
        Model.from_bytes(rewritten({**document(), "version": 2}), "models/m")


@pytest.mark.parametrize(
    "change",
    [
        {"version": None}, {"version": "1"}, {"model": "Unknown"}, {"model": ["x"]}, {"model": "os:system"},
        {"settings": {"l2": -1.0, "l1": 0.0}}, {"settings": {"l2": "x", "l1": 0.0}}, {"settings": []},
        {"settings": {"l2": 0.0, "l1": 0.0, "more": 1}}, {"encoder": {}}, {"encoder": "x"}, {"metrics": []},
        {"metrics": {"auc": "good"}}, {"metrics": {"auc": True}}, {"more": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_document_of_another_shape_is_corrupt(change: dict[str, Any]) -> None:
    with pytest.raises(Corrupt):
        Model.from_bytes(rewritten({**document(), **change}))


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros((FEATURES, 1), np.float32),
        np.zeros((FEATURES + 1, 1), np.float64),
        np.zeros(FEATURES + 1, np.float32),
        np.full((FEATURES + 1, 1), math.nan, np.float32),
    ],
)
def test_tables_of_another_shape_are_corrupt(weights: np.ndarray[Any, Any]) -> None:
    with pytest.raises(Corrupt):
        Model.from_bytes(rewritten(document(), weights))


@pytest.mark.parametrize(
    "header", [b"[]", b"{}", b'"x"', b"{", b"[" * 100_000, b"\xff", b'{"__metadata__":{"cirrus":3}}']
)
def test_a_header_of_another_shape_is_corrupt(header: bytes) -> None:
    with pytest.raises(Corrupt):
        Model.from_bytes(len(header).to_bytes(8, "little") + header)


def test_a_cut_or_lengthened_file_is_corrupt() -> None:
    data = a_model().to_bytes()
    for end in (*range(0, len(data), 7), len(data) - 1):
        with pytest.raises(Corrupt):
            Model.from_bytes(data[:end])
    with pytest.raises(Corrupt):
        Model.from_bytes(data + b"\0")
    with pytest.raises(Corrupt, match="too long"):
        Model.from_bytes((MOST_HEADER + 1).to_bytes(8, "little") + bytes(MOST_HEADER + 1))


def test_a_file_names_no_code_but_what_the_reader_allows() -> None:
    data = a_model(Mine(slope=2.0)).to_bytes()
    with pytest.raises(Corrupt, match="Mine"):
        Model.from_bytes(data)
    assert Model.from_bytes(data, models=(Mine,)).spec == Mine(slope=2.0)


def test_scikit_learn_predicts_the_same() -> None:
    model, matrix = a_model(), some_rows()
    fitted = model.to_sklearn()
    assert fitted.coef_.shape == (1, FEATURES)
    assert fitted.classes_.tolist() == [0, 1]
    np.testing.assert_allclose(fitted.predict_proba(matrix), model.predict_proba(matrix), atol=1e-6)
    assert (fitted.predict(matrix) == model.predict(matrix)).all()
    with pytest.raises(PipelineError, match="scikit-learn has too"):
        a_model(Mine()).to_sklearn()


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.linear_model", None)
    with pytest.raises(PipelineError, match=r"cirrus-serverless\[sklearn\]"):
        a_model().to_sklearn()
