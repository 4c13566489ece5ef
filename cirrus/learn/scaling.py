"""What a pass over the input finds out: rows, bad rows, and the statistics of training rows that the steps need.

With ``every(count)`` a split does not know which of its rows are test rows until the splits before it are counted, so
statistics are kept by the row's number within the split modulo ``count``, and chosen by ``select`` afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cirrus.errors import PipelineError
from cirrus.learn.columns import Columns, Doubles, Parsed, Whole
from cirrus.learn.holdout import Holdout
from cirrus.learn.moments import Moments
from cirrus.steps import Every

MOST_CLASSES = 1000
"""The largest ``every(count)`` for which statistics are kept."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be found out beyond the number of rows: statistics of number columns, the highest feature number."""

    columns: tuple[str, ...] = ()
    highest: bool = False

    def classes(self, rule: float | Every) -> int:
        """In how many classes rows are kept apart; ``PipelineError`` where they would be too many."""
        if not (self.columns or self.highest) or not isinstance(rule, Every):
            return 1
        if rule.count > MOST_CLASSES:
            allowed = f"every(count) with count <= {MOST_CLASSES} where numbers are scaled or features counted"
            raise PipelineError("prepare.test", rule, allowed)
        return rule.count


@dataclass(frozen=True, slots=True)
class TrainStatistics:
    """Statistics of training rows: one class of ``moments`` of the named columns, and the highest feature number.

    ``highest`` is the number of features that sparse rows hold: their highest index plus 1, or 0.
    """

    columns: tuple[str, ...]
    moments: Moments
    highest: int = 0

    @staticmethod
    def merged(parts: Sequence[TrainStatistics]) -> TrainStatistics:
        """The statistics of all parts together; there must be at least one."""
        moments = Moments.merged([part.moments for part in parts])
        return TrainStatistics(parts[0].columns, moments, max(part.highest for part in parts))


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """What a pass over one split found; ``rows`` counts bad rows too, of which there are ``skipped``.

    ``moments`` are those of the named columns by class; ``highest``: int64 of shape (classes,).
    """

    rows: int
    skipped: int
    columns: tuple[str, ...]
    moments: Moments
    highest: Whole

    def select(self, offset: int, rule: float | Every) -> TrainStatistics:
        """The training rows' part, where the split's first row is row ``offset`` of the whole input."""
        classes = len(self.highest)
        which = np.ones(classes, np.bool_)
        if isinstance(rule, Every) and classes > 1:
            which = (np.arange(classes) + offset) % rule.count != rule.at
        return TrainStatistics(self.columns, self.moments.pooled(which), int(self.highest[which].max(initial=0)))

    def to_json(self) -> str:
        """As a JSON text that ``from_json`` reads back without loss."""
        part = self.moments
        arrays = (part.count, part.missing, _finite(part.low), _finite(part.high), part.mean, part.spread)
        return json.dumps(
            {
                "rows": self.rows,
                "skipped": self.skipped,
                "columns": self.columns,
                "highest": self.highest.tolist(),
                "moments": [one if isinstance(one, list) else one.tolist() for one in arrays],
            },
            allow_nan=False,
        )

    @staticmethod
    def from_json(text: str) -> SplitStatistics:
        """Read what ``to_json`` wrote; anything else is a ``PipelineError``."""
        try:
            return _read(json.loads(text))
        except (ValueError, TypeError, KeyError) as error:
            raise PipelineError("statistics", text[:80], "a JSON text that SplitStatistics.to_json wrote") from error


class Scan:
    """Gathers the statistics of one split, chunk by chunk."""

    def __init__(self, needs: Needs, holdout: Holdout, number: int) -> None:
        """Begin a split of the ``number``-th object of the input."""
        self._needs = needs
        self._holdout = holdout
        self._number = number
        self._rows = self._skipped = 0
        classes = needs.classes(holdout.rule)
        self._moments = Moments.empty(classes, len(needs.columns))
        self._highest = np.zeros(classes, np.int64)

    def add(self, parsed: Parsed, offset: int) -> None:
        """Take in the next chunk of the split, which begins at byte ``offset`` of the uncompressed object."""
        if self._needs.columns or self._needs.highest:
            self._measure(parsed, offset)
        self._rows += parsed.rows
        self._skipped += parsed.skipped

    def result(self) -> SplitStatistics:
        """The statistics of what was taken in so far."""
        return SplitStatistics(self._rows, self._skipped, self._needs.columns, self._moments, self._highest.copy())

    def _measure(self, parsed: Parsed, offset: int) -> None:
        classes = len(self._highest)
        train = np.ones(len(parsed.positions), np.bool_)
        if not isinstance(self._holdout.rule, Every):
            train = ~self._holdout.test_rows(parsed, self._rows, self._number, offset)
        member = (parsed.positions + self._rows)[train] % classes
        content = parsed.content
        if isinstance(content, Columns):
            columns = [content.numbers[name][train] for name in self._needs.columns]
            self._moments = Moments.merged([self._moments, Moments.of(columns, classes, member)])
        else:
            lengths = np.diff(content.indptr)
            filled = train & (lengths > 0)
            last = content.indices[content.indptr[1:][filled] - 1].astype(np.int64) + 1  # ids ascend within a row
            np.maximum.at(self._highest, (parsed.positions + self._rows)[filled] % classes, last)


def _finite(array: Doubles) -> list[list[float | None]]:
    """Nested lists in which null stands for a value that there is none of."""
    return [[value if np.isfinite(value) else None for value in row] for row in array.tolist()]


def _read(found: dict[str, object]) -> SplitStatistics:
    if set(found) != {"rows", "skipped", "columns", "highest", "moments"}:
        raise ValueError("other fields")
    columns, highest, moments = found["columns"], found["highest"], found["moments"]
    rows, skipped = found["rows"], found["skipped"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise TypeError("columns")
    if not isinstance(moments, list) or not isinstance(highest, list):
        raise TypeError("moments")
    if not isinstance(rows, int) or not isinstance(skipped, int):
        raise TypeError("rows")
    shape = (len(highest), len(columns))
    count, missing, low, high, mean, spread = moments
    parts = Moments(
        np.array(count, np.int64).reshape(shape),
        np.array(missing, np.int64).reshape(shape),
        np.nan_to_num(np.array(low, np.float64), nan=np.inf).reshape(shape),
        np.nan_to_num(np.array(high, np.float64), nan=-np.inf).reshape(shape),
        np.array(mean, np.float64).reshape(shape),
        np.array(spread, np.float64).reshape(shape),
    )
    return SplitStatistics(rows, skipped, tuple(columns), parts, np.array(highest, np.int64))
