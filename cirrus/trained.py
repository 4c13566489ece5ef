"""A trained model: what a run leaves behind, for prediction here, in a service, or in scikit-learn."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from cirrus import pictures
from cirrus.errors import InputError, NotFound, PipelineError, StoreError
from cirrus.learn.encoding import Encoder
from cirrus.learn.kernels import kernel_of
from cirrus.learn.records import Record
from cirrus.learn.rows import Floats, Rows
from cirrus.learn.sigmoid import sigmoid
from cirrus.modelfile import MOST_BYTES, Stored, decode_model, encode_model
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import SGD

if TYPE_CHECKING:
    from scipy.sparse import sparray, spmatrix
    from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression

    Given = Rows | sparray | spmatrix | NDArray[np.generic] | Sequence[Record]

AT_ONCE: Final = 65_536
"""Rows that are computed together; bounds the memory that a prediction takes beside its rows."""


class Model:
    """A model's settings, the encoder that makes its rows, its weights, and how good it was.

    ``weights`` maps each table's name to a float32 array of shape (rows, width), exactly as the model's kernel declares
    them, else ``PipelineError``. ``rows`` below are one of: encoded ``Rows``; a scipy sparse matrix or a dense array of
    shape (n, features); records, that is, mappings of column names to values or raw lines, which the encoder turns
    into rows. Rows that do not fit are an ``InputError``.
    """

    def __init__(
        self, spec: ModelSpec, encoder: Encoder, weights: Mapping[str, Floats], metrics: Mapping[str, float]
    ) -> None:
        self.spec = spec
        self.encoder = encoder
        self.weights = {name: np.ascontiguousarray(table, np.float32) for name, table in weights.items()}
        self.metrics = dict(metrics)
        self._kernel = kernel_of(spec, encoder.features, SGD())  # no gradient will ever meet an optimiser here
        wanted = {table.name: (table.rows, table.width) for table in self._kernel.tables()}
        found = {name: table.shape for name, table in self.weights.items()}
        if found != wanted:
            raise PipelineError("model.weights", found, f"tables of the shapes {wanted}")

    def decision_function(self, rows: Given) -> Floats:
        """The margin of each row, float32 of shape (n,): for logistic regression the log odds of label 1."""
        whole = self._encoded(rows)
        parts = [self._scores(part) for part in _parts(whole)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def predict_proba(self, rows: Given) -> NDArray[np.float64]:
        """The chances of label 0 and label 1, of shape (n, 2), of a model whose margins are log odds."""
        margins = self.decision_function(rows).astype(np.float64)
        return np.stack([sigmoid(-margins), sigmoid(margins)], axis=1)

    def predict(self, rows: Given) -> NDArray[np.int64]:
        """The likelier label of each row, 0 or 1, of shape (n,)."""
        return (self.decision_function(rows) > 0.0).astype(np.int64)

    def to_bytes(self) -> bytes:
        """As the bytes of a safetensors file that any safetensors reader opens; ``from_bytes`` reads all of it back."""
        return encode_model(Stored(self.spec, self.encoder, self.weights, self.metrics))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "model", models: Sequence[type[ModelSpec]] = ()) -> Model:
        """Read what ``to_bytes`` wrote; ``Corrupt``, which names ``name``, for anything else or another version.

        A file can only name models of cirrus and those classes of yours that you pass in ``models``.
        """
        stored = decode_model(data, name, (LogisticRegression, *models))
        return cls(stored.spec, stored.encoder, stored.weights, stored.metrics)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write one safetensors file; a reader finds the old file or the new one, whole."""
        target = Path(path)
        try:
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".cirrus-") as folder:
                fresh = Path(folder) / target.name
                with fresh.open("xb") as file:
                    file.write(self.to_bytes())
                    file.flush()
                    os.fsync(file.fileno())
                fresh.replace(target)
        except OSError as error:
            raise StoreError(str(target), f"the model cannot be written: {error}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str], models: Sequence[type[ModelSpec]] = ()) -> Model:
        """Read what ``save`` wrote; ``NotFound``, or as ``from_bytes`` says."""
        source = Path(path)
        try:
            with source.open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except FileNotFoundError as error:
            raise NotFound(str(source)) from error
        except OSError as error:
            raise StoreError(str(source), f"the model cannot be read: {error}") from error
        return cls.from_bytes(data, str(source), models)

    def to_sklearn(self) -> SklearnLogisticRegression:
        """A fitted scikit-learn ``LogisticRegression`` that predicts the same from encoded rows."""
        if not isinstance(self.spec, LogisticRegression):
            raise PipelineError("model", self.spec, "a LogisticRegression, which scikit-learn has too")
        try:
            from sklearn.linear_model import LogisticRegression as Fitted  # noqa: PLC0415  an optional extra
        except ImportError as error:
            raise PipelineError("to_sklearn", "no scikit-learn", "pip install 'cirrus-serverless[sklearn]'") from error
        weights = self.weights["weights"].astype(np.float64)
        fitted = Fitted()
        fitted.classes_ = np.array([0, 1])
        fitted.coef_ = weights[:-1].T.copy()
        fitted.intercept_ = weights[-1].copy()
        fitted.n_features_in_ = self.encoder.features
        fitted.n_iter_ = np.array([0], np.int32)
        return fitted

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        tables = [(name, " x ".join(map(str, table.shape))) for name, table in self.weights.items()]
        figures = [(name.replace("_", " "), pictures.value(figure)) for name, figure in self.metrics.items()]
        return pictures.framed(
            pictures.heading(repr(self.spec)), pictures.table(("of the model", "value"), [*tables, *figures])
        )

    def _encoded(self, rows: Given) -> Rows:
        features = self.encoder.features
        if isinstance(rows, Rows):
            if len(rows.indices) and int(rows.indices.max()) >= features:
                raise InputError("rows", f"a feature number of {features} or above")
            return rows
        if isinstance(rows, np.ndarray):
            return _from_dense(rows, features)
        if hasattr(rows, "tocsr"):  # scipy.sparse is not imported here: it costs whoever only watches a run 200 ms
            return _from_sparse(rows, features)
        return self.encoder.rows_from_records(cast("Sequence[Record]", rows))

    def _scores(self, rows: Rows) -> Floats:
        batch = self._kernel.batch(rows, 0)
        pairs = zip(self._kernel.tables(), batch.keys, strict=True)
        return self._kernel.scores(batch, tuple([self.weights[table.name][keys] for table, keys in pairs]))


def _parts(rows: Rows) -> Iterator[Rows]:
    for start in range(0, len(rows), AT_ONCE):
        yield rows.slice(start, min(start + AT_ONCE, len(rows)))


def _from_sparse(matrix: Any, features: int) -> Rows:
    """A matrix of any of scipy's classes, whose types say nothing of shape and dtype."""
    _check_matrix(matrix, features)
    found = matrix.tocsr()
    return _finite(found.indptr, found.indices, found.data.astype(np.float32))


def _from_dense(matrix: NDArray[Any], features: int) -> Rows:
    _check_matrix(matrix, features)
    rows, columns = matrix.nonzero()
    indptr = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
    return _finite(indptr, columns, matrix[rows, columns].astype(np.float32))


def _check_matrix(matrix: Any, features: int) -> None:
    if matrix.ndim != 2 or matrix.shape[1] != features or matrix.dtype.kind not in "biuf":
        raise InputError("rows", f"{matrix.dtype} of shape {matrix.shape} instead of numbers of shape (n, {features})")


def _finite(indptr: NDArray[Any], indices: NDArray[Any], values: Floats) -> Rows:
    if not np.isfinite(values).all():
        raise InputError("rows", "a value that is not finite in single precision")
    labels = np.zeros(len(indptr) - 1, np.float32)
    return Rows(labels, indptr.astype(np.int64), indices.astype(np.uint32), values)
