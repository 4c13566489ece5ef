"""Where training data come from and how their rows are written: frozen values that name files, never open them.

``path`` is a local path, a glob (``data/day_*.tsv.gz``), a folder that ends in ``/``, or any of them on S3
(``s3://bucket/data/``). Files may be plain or gzip, told apart by their first bytes. A row is a line; blank lines are
no rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Literal

from cirrus import checks
from cirrus.errors import PipelineError

OnBadRow = Literal["fail", "skip"]
Kind = Literal["number", "category"]

CRITEO_INTEGERS = tuple(f"I{k}" for k in range(1, 14))
CRITEO_CATEGORIES = tuple(f"C{k}" for k in range(1, 27))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Rows in files. ``on_bad_row`` is ``fail`` (an error that names file and line) or ``skip`` (counted, reported)."""

    path: str
    on_bad_row: OnBadRow = "fail"

    def __post_init__(self) -> None:
        checks.text("data.path", self.path)
        checks.one_of("data.on_bad_row", self.on_bad_row, ("fail", "skip"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CriteoSource(Source):
    """Tab-separated: label 0 or 1, integers ``I1``.., categories ``C1``..; an empty field is missing; no header."""

    integers: tuple[str, ...] = CRITEO_INTEGERS
    categories: tuple[str, ...] = CRITEO_CATEGORIES

    def __post_init__(self) -> None:
        Source.__post_init__(self)
        checks.texts("data.integers", self.integers)
        checks.texts("data.categories", self.categories)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSource(Source):
    """Comma-separated with a label column.

    ``columns`` maps column names to ``number`` or ``category``; columns that it does not name are left out. ``None``
    takes every column: a number where all of the first 1,000 rows are numbers or empty, else a category. ``names`` are
    the columns' names of a file without a header. ``positive`` is the text of the label that counts as 1; ``None``
    takes labels 0 and 1, or -1 and 1. An empty field is missing.
    """

    label: str
    columns: Mapping[str, Kind] | None = None
    names: tuple[str, ...] | None = None
    positive: str | None = None
    delimiter: str = ","

    def __post_init__(self) -> None:
        Source.__post_init__(self)
        checks.text("data.label", self.label)
        if self.columns is not None:
            checks.mapping("data.columns", self.columns, ("number", "category"))
            if self.label in self.columns:
                raise PipelineError("data.columns", self.label, "the feature columns only, without the label")
        if self.names is not None:
            checks.texts("data.names", self.names)
            wanted = (self.label, *(self.columns or ()))
            for one in wanted:
                checks.one_of("data.label or data.columns", one, self.names)
        if self.positive is not None:
            checks.instance("data.positive", self.positive, str, "the label's text, or None")
        checks.text("data.delimiter", self.delimiter)
        if len(self.delimiter) != 1 or self.delimiter in '"\n\r' or not self.delimiter.isascii():
            raise PipelineError("data.delimiter", self.delimiter, "one ASCII character, not a quote or a line end")


@dataclass(frozen=True, slots=True, kw_only=True)
class LibsvmSource(Source):
    """``label id:value id:value ...``, ids from 1 in ascending order, label 0 or 1, or -1 and +1.

    ``features`` is the highest id; ``None`` takes the highest id that the training data hold.
    """

    features: int | None = None

    def __post_init__(self) -> None:
        Source.__post_init__(self)
        if self.features is not None:
            checks.integer("data.features", self.features, 1, 2**31 - 1)


def _text(path: str | PathLike[str]) -> str:
    return fspath(path) if isinstance(path, PathLike) else path


def criteo(path: str | PathLike[str], *, on_bad_row: OnBadRow = "fail") -> CriteoSource:
    """Display-advertising rows: label, 13 integers, 26 categories, tab-separated, empty = missing."""
    return CriteoSource(path=_text(path), on_bad_row=on_bad_row)


def csv(  # noqa: PLR0913  one argument for each thing that a CSV file does not say about itself
    path: str | PathLike[str],
    *,
    label: str,
    columns: Mapping[str, Kind] | None = None,
    names: tuple[str, ...] | None = None,
    positive: str | None = None,
    delimiter: str = ",",
    on_bad_row: OnBadRow = "fail",
) -> CsvSource:
    """Comma-separated rows with a label column; see ``CsvSource`` for the arguments."""
    return CsvSource(
        path=_text(path), label=label, columns=columns, names=names, positive=positive, delimiter=delimiter,
        on_bad_row=on_bad_row,
    )


def libsvm(path: str | PathLike[str], *, features: int | None = None, on_bad_row: OnBadRow = "fail") -> LibsvmSource:
    """Sparse rows ``label id:value ...`` with ids from 1."""
    return LibsvmSource(path=_text(path), features=features, on_bad_row=on_bad_row)
