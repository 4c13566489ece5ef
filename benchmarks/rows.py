"""Criteo-shaped rows for benchmarks: 39 values each, 2**18 features, encoded as cirrus prepares them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kernels import BITS, Lines
from cirrus.learn.encoding import Encoder
from cirrus.learn.parsing import parser
from cirrus.learn.rows import Rows
from cirrus.sources import CriteoSource
from cirrus.steps import Bucket, Hash, Step

STEPS: tuple[Step, ...] = (Bucket(), Hash(bits=BITS))


def encoded(path: Path) -> Rows:
    """The rows of a file, in its order."""
    source = CriteoSource(path="rows")
    content = parser(source).parse(path.read_bytes(), 1, "rows").content
    return Encoder(source, STEPS, {}, 1 << BITS).encode(content)


def save(rows: Rows, path: Path) -> None:
    """For ``Lines.parse``."""
    path.write_bytes(Lines(rows.labels, rows.indptr, rows.indices).content())
