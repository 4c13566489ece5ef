"""What came of all rounds: medians, and how many times as fast cirrus was in the same round; and a table of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from math import inf
from statistics import median
from typing import Any

from benchmarks.peers.task import Outcome
from benchmarks.tables import table

CIRRUS = "cirrus"
"""With as many steps under way as it has by default: what the others are compared to."""

HEAD = """
## Beside what people would use instead

Sparse logistic regression with AdaGrad, 100,000 Criteo-shaped rows of 39 values, 2^18 weights, minibatches of 100, four
workers, all on this one machine. The first rows are the staircase of the Cirrus paper with Lithops in PyWren's place:
one map of four calls an update, which is the mean of four minibatches' gradients; then one map whose calls update the
model in object storage as often as they can; then with their minibatches read once and kept prepared; then with the
model in Redis; and beyond the paper, with Redis adding to the model in place. Who reads a whole model and writes it
undoes what others wrote meanwhile: only those updates survive that are in the model at the end, which counts them. Ray
and Dask have a server actor, one call a step, and the naive design's arithmetic in numpy; TensorFlow is one process
without a network, with many steps in one call of its graph. cirrus fetches blocks ahead in both of its rows, and has
one step under way in the first and several in the second.

Processor time is that of all processes, an update. Then the seconds until the loss on test rows is within 0.02 of that
of the model that drew the labels: from the first step, and from the start of the program, with all that must begin
before. cirrus's times end when its driver is told by a worker that measures the model beside the others. Medians of
rounds in which all took turns; the last column is the median of the rounds' ratios.
"""


def middle(values: Iterable[float | None]) -> float | None:
    """The median, where None is longer than everything."""
    found = median([inf if value is None else value for value in values])
    return None if found == inf else round(found, 3)


def figure(values: Iterable[float]) -> float:
    """The median to four digits."""
    return float(f"{median(values):.4g}")


def rate(one: Outcome) -> float:
    return one.survived / one.seconds


def figures(name: str, seconds: float, rounds: list[dict[str, Outcome]]) -> dict[str, Any]:
    """Of one peer, which learnt for so many seconds in each round."""
    mine = [one for one in rounds if name in one]
    runs = [one[name] for one in mine]
    if not runs:
        return {"name": name, "runs": []}
    return {
        "name": name,
        "seconds": seconds,
        "tried_per_second": figure(one.applied / one.seconds for one in runs),
        "updates_per_second": figure(rate(one) for one in runs),
        "rows_per_second": figure(rate(one) * one.rows for one in runs),
        "processor_us": figure(1e6 * one.processor / one.survived for one in runs),
        "reached": middle(one.reached for one in runs),
        "whole": middle(one.whole for one in runs),
        "times": figure([rate(one[CIRRUS]) / rate(one[name]) for one in mine if CIRRUS in one] or [0.0]),
        "runs": [asdict(one) for one in runs],
    }


def peers(found: dict[str, Any]) -> str:
    """The table."""
    head = [
        "", "updates made a second", "that survive", "rows a second", "processor, µs", "s of learning", "s in all",
        "cirrus / it",
    ]  # fmt: skip
    return table(head, [line(one) for one in found["peers"] if one["runs"]]) + versions(found["packages"])


def line(one: dict[str, Any]) -> list[str]:
    names = ("tried_per_second", "updates_per_second", "rows_per_second", "processor_us")
    times = [
        f"not within {one['seconds']:g}" if one[name] is None else f"{one[name]:.2f}" for name in ("reached", "whole")
    ]
    return [one["name"], *[short(one[name]) for name in names], *times, short(one["times"])]


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def versions(packages: dict[str, list[str]]) -> str:
    return f"\nVersions: {', '.join(one.replace('==', ' ') for names in packages.values() for one in names)}.\n"
