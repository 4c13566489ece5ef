"""Sections of the benchmarks' page, each on a single claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tables import table

PREPARATION = """
## What preparation costs

Criteo-shaped rows, from lines of text to blocks of hashed features, beside scikit-learn's `FeatureHasher` on the same
lines cut into `field=value` strings: rows a second of processor time of one core, medians of runs that took turns.
Memory is the most that a worker of a preparation stage had, with an input and one four times as large.
"""


def preparation(found: dict[str, Any]) -> str:
    rows = [[one, f"{found[one]['rows_per_second']:,}"] for one in ("cirrus", "scikit-learn")]
    text = table(["", "rows a second and core"], rows)
    memory = " and ".join(f"{one['worker_mb']} MB with {one['rows']:,} rows" for one in found["memory"])
    return text + f"\ncirrus / scikit-learn: {found['ratio']}. Memory of a worker: {memory}.\n"

SCHEDULING = """
## What a decision about a worker costs

Microseconds of processor time a decision of the machine that keeps a run's pools at their wish, by what it is told of:
means over whole generations of so many workers, medians of runs. Then the time until so many workers have been asked
for from an emulator of Lambda in another process, which has accepted each.
"""


def scheduling(found: dict[str, Any]) -> str:
    spent = found["decision_us"]
    text = table(["slots", *spent], [[f"{found['slots']:,}", *[f"{one}" for one in spent.values()]]])
    return text + f"\n{found['workers']:,} workers, {found['at_once']} at a time: {found['seconds']} s.\n"


PARTS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("preparation", PREPARATION, preparation),
    ("scheduling", SCHEDULING, scheduling),
)
