"""Sources and steps as JSON values, written and strictly read; their own checks decide what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable

from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, Source
from cirrus.steps import Bucket, Hash, MinMax, Standard, Step

_ANYWHERE = "-"


def written_source(source: Source) -> dict[str, object]:
    """The shape of a definite source's rows, without where they are."""
    match source:
        case CriteoSource():
            return {"format": "criteo", "integers": source.integers, "categories": source.categories}
        case CsvSource():
            columns = list((source.columns or {}).items())
            return {
                "format": "csv",
                "label": source.label,
                "columns": columns,
                "names": source.names,
                "positive": source.positive,
                "delimiter": source.delimiter,
            }
        case LibsvmSource():
            return {"format": "libsvm", "features": source.features}
        case _:
            raise TypeError(type(source).__name__)


def read_source(found: object) -> Source:
    """The source that was written, with a path that names nothing."""
    fields = _fields(found)
    kind = fields.pop("format", None)
    if kind == "criteo":
        _exactly(fields, "integers", "categories")
        return CriteoSource(
            path=_ANYWHERE, integers=_texts(fields["integers"]), categories=_texts(fields["categories"])
        )
    if kind == "libsvm":
        _exactly(fields, "features")
        return LibsvmSource(path=_ANYWHERE, features=_integer(fields["features"]) if fields["features"] else None)
    if kind != "csv":
        raise ValueError("another format")
    _exactly(fields, "label", "columns", "names", "positive", "delimiter")
    positive, columns = fields["positive"], fields["columns"]
    if not isinstance(columns, list):
        raise TypeError("columns")
    return CsvSource(
        path=_ANYWHERE,
        label=_text(fields["label"]),
        columns=dict(columns),
        names=_texts(fields["names"]),
        positive=None if positive is None else _text(positive),
        delimiter=_text(fields["delimiter"]),
    )


def written_steps(steps: tuple[Step, ...]) -> list[dict[str, object]]:
    """The steps, in order."""
    return [
        {"step": "Hash", "bits": step.bits, "signed": step.signed}
        if isinstance(step, Hash)
        else {"step": type(step).__name__, "columns": step.columns}
        for step in steps
    ]


def read_steps(found: object) -> tuple[Step, ...]:
    """The steps that were written."""
    if not isinstance(found, list):
        raise TypeError("steps")
    return tuple(_step(_fields(one)) for one in found)


def pair_list(found: object) -> tuple[tuple[float, float], ...]:
    """Pairs of finite numbers."""
    if not isinstance(found, list):
        raise TypeError("pairs")
    pairs = tuple((float(first), float(second)) for first, second in found)
    if not all(math.isfinite(number) for pair in pairs for number in pair):
        raise ValueError("numbers that are not finite")
    return pairs


_COLUMN_STEPS: dict[str, Callable[[tuple[str, ...] | None], Step]] = {
    "MinMax": MinMax,
    "Standard": Standard,
    "Bucket": Bucket,
}


def _step(fields: dict[str, object]) -> Step:
    kind = _text(fields.pop("step", None))
    if kind == "Hash":
        _exactly(fields, "bits", "signed")
        signed = fields["signed"]
        if not isinstance(signed, bool):
            raise TypeError("signed")
        return Hash(_integer(fields["bits"]), signed)
    _exactly(fields, "columns")
    columns = fields["columns"]
    return _COLUMN_STEPS[kind](None if columns is None else _texts(columns))


def _fields(found: object) -> dict[str, object]:
    if not isinstance(found, dict):
        raise TypeError("an object is wanted")
    return dict(found)


def _exactly(fields: dict[str, object], *names: str) -> None:
    if set(fields) != set(names):
        raise ValueError("other fields")


def _text(found: object) -> str:
    if not isinstance(found, str):
        raise TypeError("a text is wanted")
    return found


def _texts(found: object) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise TypeError("a list is wanted")
    return tuple(_text(one) for one in found)


def _integer(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise TypeError("a whole number is wanted")
    return found
