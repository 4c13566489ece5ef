"""From columns to sparse rows: fitted once on the training rows, then the same function in training and prediction."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from cirrus.errors import PipelineError
from cirrus.learn.columns import Columns, Doubles
from cirrus.learn.features import HashedBuckets, HashedCategory, HashedNumber
from cirrus.learn.numerals import LARGEST
from cirrus.learn.plans import ColumnPlan, hashing, plans
from cirrus.learn.records import Record, content_of
from cirrus.learn.rows import Rows
from cirrus.learn.scaling import TrainStatistics
from cirrus.learn.specs import pair_list, read_source, read_steps, written_source, written_steps
from cirrus.sources import LibsvmSource, Source
from cirrus.steps import Hash, Step

Scaling = tuple[float, float]
"""Shift and scale: a value becomes ``(value - shift) * scale``."""

_VERSION = 1


class Encoder:
    """Turns the columns of a definite source into sparse rows of ``features`` features.

    With ``Hash``, each column gives one feature of each row, so rows are equally long; indices within a row are in no
    order and may repeat, and then their values add. Without it each number column is one feature, in the order of the
    source, left out where it is missing. Sparse rows pass through, without features that training rows do not have.
    """

    def __init__(
        self, source: Source, steps: tuple[Step, ...], scalings: Mapping[str, tuple[Scaling, ...]], features: int
    ) -> None:
        """Put together what ``fit`` or ``from_json`` found out; nothing is checked against training rows here."""
        self.source = source
        self.steps = steps
        self.scalings = dict(scalings)
        self.features = features
        self._plans = () if isinstance(source, LibsvmSource) else plans(source, steps)
        hash_step = hashing(steps)
        self._hashed = None if hash_step is None else tuple(_hashed(plan, hash_step) for plan in self._plans)
        self._ones = hash_step is not None and not hash_step.signed and not any(plan.number for plan in self._plans)

    @staticmethod
    def fit(source: Source, steps: tuple[Step, ...], statistics: TrainStatistics) -> Encoder:
        """Take from the statistics of the training rows what the steps need; see ``cirrus.learn.plans.needs``."""
        if isinstance(source, LibsvmSource):
            features = source.features or statistics.highest
            if not features:
                raise PipelineError("data", source.path, "training rows that hold at least one feature")
            return Encoder(source, steps, {}, features)
        scalings = {plan.name: _fitted(plan, statistics) for plan in plans(source, steps) if plan.scalers}
        step = hashing(steps)
        return Encoder(source, steps, scalings, 1 << step.bits if step else len(plans(source, steps)))

    def encode(self, content: Columns | Rows) -> Rows:
        """The rows as sparse vectors: indices below ``features``, values float32, or ``None`` where all are 1."""
        if isinstance(content, Rows):
            return _known(content, self.features)
        return self._dense(content) if self._hashed is None else self._hash(content)

    def rows_from_records(self, records: Sequence[Record]) -> Rows:
        """Encode mappings of column names to values (``None``: missing), or lines as the source has them.

        Lines may lack the label. What is wrong with the ``n``-th record is an ``InputError`` at line ``n``.
        """
        return self.encode(content_of(self.source, records))

    def to_json(self) -> str:
        """As a JSON text that ``from_json`` reads back to an encoder that encodes alike."""
        return json.dumps(
            {
                "version": _VERSION,
                "source": written_source(self.source),
                "steps": written_steps(self.steps),
                "scalings": self.scalings,
                "features": self.features,
            },
            allow_nan=False,
        )

    @staticmethod
    def from_json(text: str) -> Encoder:
        """Read what ``to_json`` wrote; anything else is a ``PipelineError``."""
        try:
            return _read(json.loads(text))
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise PipelineError("encoder", text[:80], "a JSON text that Encoder.to_json wrote") from error

    def _hash(self, columns: Columns) -> Rows:
        assert self._hashed is not None
        shape = (len(self._plans), len(columns))
        indices = np.empty(shape, np.uint32)
        values = None if self._ones else np.empty(shape, np.float32)
        for number, (plan, feature) in enumerate(zip(self._plans, self._hashed, strict=True)):
            value = None if values is None else values[number]
            if isinstance(feature, HashedCategory):
                feature.fill(columns.categories[plan.name], indices[number], value)
            elif isinstance(feature, HashedBuckets):
                feature.fill(self._scaled(columns, plan), indices[number], value)
            else:
                assert value is not None
                feature.fill(self._scaled(columns, plan), indices[number], value)
        indptr = np.arange(len(columns) + 1, dtype=np.int64) * len(self._plans)
        return Rows(columns.labels, indptr, indices.T.ravel(), None if values is None else values.T.ravel())

    def _dense(self, columns: Columns) -> Rows:
        values = np.stack([self._scaled(columns, plan) for plan in self._plans], axis=1)
        here = ~np.isnan(values)
        indptr = np.zeros(len(columns) + 1, np.int64)
        np.cumsum(here.sum(axis=1), out=indptr[1:])
        indices = np.broadcast_to(np.arange(len(self._plans), dtype=np.uint32), values.shape)[here]
        return Rows(columns.labels, indptr, indices, values[here].astype(np.float32))

    def _scaled(self, columns: Columns, plan: ColumnPlan) -> Doubles:
        values = columns.numbers[plan.name]
        for shift, scale in self.scalings.get(plan.name, ()):
            values = np.clip((values - shift) * scale, -LARGEST, LARGEST)
        return values


def _hashed(plan: ColumnPlan, step: Hash) -> HashedCategory | HashedBuckets | HashedNumber:
    if plan.kind == "category":
        return HashedCategory.of(plan.name, step)
    return HashedBuckets.of(plan.name, step) if plan.bucketed else HashedNumber.of(plan.name, step)


def _fitted(plan: ColumnPlan, statistics: TrainStatistics) -> tuple[Scaling, ...]:
    """Shift and scale of each scaler of a column; a later one sees the numbers that an earlier one has scaled."""
    where = statistics.columns.index(plan.name)
    moments = statistics.moments
    count = int(moments.count[0, where])
    if not count:
        return tuple((0.0, 0.0) for _ in plan.scalers)
    low, high = float(moments.low[0, where]), float(moments.high[0, where])
    mean, deviation = float(moments.mean[0, where]), float(np.sqrt(moments.spread[0, where] / count))
    found = []
    for scaler in plan.scalers:
        shift, width = (low, high - low) if scaler == "minmax" else (mean, deviation)
        scale = 1 / width if high > low and width > 1 / LARGEST else 0.0
        found.append((shift, scale))
        low, high, mean = (low - shift) * scale, (high - shift) * scale, (mean - shift) * scale
        deviation *= scale
    return tuple(found)


def _known(rows: Rows, features: int) -> Rows:
    """The same rows without features that the training rows do not have."""
    known = rows.indices < features
    if known.all():
        return rows
    before = np.zeros(len(known) + 1, np.int64)
    np.cumsum(known, out=before[1:])
    indptr = before[rows.indptr]
    return Rows(rows.labels, indptr, rows.indices[known], None if rows.values is None else rows.values[known])


def _read(found: dict[str, object]) -> Encoder:
    if set(found) != {"version", "source", "steps", "scalings", "features"} or found["version"] != _VERSION:
        raise ValueError("another version or other fields")
    source, steps, features = read_source(found["source"]), read_steps(found["steps"]), found["features"]
    scalings = found["scalings"]
    if not isinstance(scalings, dict) or not isinstance(features, int) or not 1 <= features < 2**31:
        raise TypeError("scalings or features")
    known = {name: pair_list(pairs) for name, pairs in scalings.items()}
    encoder = Encoder(source, steps, known, features)
    expected = {plan.name: len(plan.scalers) for plan in encoder._plans if plan.scalers}  # noqa: SLF001  built here
    if expected != {name: len(pairs) for name, pairs in known.items()}:
        raise ValueError("scalings of other columns")
    return encoder
