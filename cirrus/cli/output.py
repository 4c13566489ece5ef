"""What a command prints at its end, and the codes with which it exits."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence

DONE = 0
WRONG = 2
"""The command or the pipeline asks for something impossible; nothing was started."""

FAILED = 3
"""The run could not do what it was asked to: bad data, a failed stage, a budget that is used up, a kill."""

OUTSIDE = 4
"""Something that cirrus depends on failed: the store, a worker that cannot be started, a broken connection."""

INTERRUPTED = 130


def print_json(document: object) -> None:
    """One JSON object on standard output; what is not a number becomes null."""
    print(json.dumps(_finite(document), allow_nan=False))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Columns of text on standard output, each as wide as its widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def complain(problem: str) -> None:
    """One sentence on standard error."""
    print(f"cirrus: {problem}", file=sys.stderr)


def _finite(document: object) -> object:
    match document:
        case float():
            return document if math.isfinite(document) else None
        case dict():
            return {key: _finite(value) for key, value in document.items()}
        case list() | tuple():
            return [_finite(value) for value in document]
        case _:
            return document
