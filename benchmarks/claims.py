"""Sections of the benchmarks' page, each on a single claim."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.tables import table
from cirrus.pictures import Curve, chart

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

KEYS = """
## What a key costs in a larger table

Nanoseconds of a shard's processor time for each of the 4,000 keys of a step that pushes and pulls, AdaGrad, all over
tables of 2^18 to 2^24 rows; beside it what numpy needs to read eight bytes at the same places of an array. Memory in MB
of a shard's process: weights and their state, what it has, and 1.3 times the former and 60.

![Nanoseconds a key by the size of the table](keys.svg)
"""


def keys(found: dict[str, Any]) -> str:
    head = ["rows", "shard, ns a key", "reading, ns a key", "weights and state", "memory", "1.3 times and 60"]
    names = ("key_ns", "gather_ns", "table_mb", "memory_mb", "allowed_mb")
    return table(head, [[f"2^{one['bits']}", *[str(one[name]) for name in names]] for one in found["sizes"]])


def keys_picture(found: dict[str, Any]) -> str:
    """The same as a picture; across it goes how often 2^18 rows are doubled."""
    sizes = found["sizes"]
    curves = [
        Curve([(one["bits"] - 18, one[name]) for one in sizes], label)
        for name, label in (("key_ns", "shard"), ("gather_ns", "reading alone"))
    ]
    svg = chart("Nanoseconds a key by the size of the table", "doublings of 2^18 rows", curves)
    return svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1) + "\n"

CONNECTIONS = """
## Round trips on a shard with many connections

One shard process, steps of 700 keys that push and pull, AdaGrad: milliseconds from sending to the answer while so many
connections are silent and so many do steps at even intervals, together at half the rate that was seen when they did
them as fast as they could. Medians of rounds; the longest is that of the median round.
"""


def connections(found: dict[str, Any]) -> str:
    head = ["idle", "active", "most steps a second", "steps a second", "p50", "p99", "longest"]
    counts = [f"{found[name]:,}" for name in ("idle", "active", "most_per_second", "per_second")]
    return table(head, [[*counts, *[f"{found[name]}" for name in ("p50_ms", "p99_ms", "longest_ms")]]])

VOWPAL = """
## Beside Vowpal Wabbit

The same rows as above in both, logistic regression of 2^18 weights: rows a second of a pass of Vowpal Wabbit (`--sgd`,
in one process of two threads, over rows that it has cached) and of cirrus with four workers and minibatches of 100
while all of them learn; medians of runs that took turns. Then the test loss after so many passes, each with its default
learning rate and with the best of four, and the seconds that the former took.
"""


def vowpal(found: dict[str, Any]) -> str:
    text = table(["cirrus, rows a second", "Vowpal Wabbit", "ratio"], [
        [f"{found['cirrus']:,}", f"{found['vowpal']:,}", f"{found['ratio']}"],
    ])  # fmt: skip
    rows = [
        [f"{one['passes']}", *[
            cell for who in ("cirrus", "vowpal") for cell in (
                f"{one[who]['default']['loss']:.4f}", f"{one[who]['best']['loss']:.4f}",
                f"{one[who]['default']['seconds']:.2f}",
            )
        ]] for one in found["passes"]
    ]  # fmt: skip
    names = ("default", "best", "seconds")
    head = ["passes", *[f"{who}, {name}" for who in ("cirrus", "Vowpal Wabbit") for name in names]]
    return text + table(head, rows) + f"\nThe loss of the model that drew the labels: {found['best_loss']:.4f}.\n"

STALENESS = """
## What late gradients cost

Rows that are learnt from until the test loss is within {near} of that of the model that drew the labels, as multiples
of what a single process needs, {single:,} rows: workers on a real shard in one process, each with so many steps under
way, minibatches of 100, AdaGrad with all its defaults. First where chance says whose turn it is, then where they take
turns in a ring, so that all gradients are late by as many steps as are under way. Nothing is measured in seconds here.
"""


def staleness(found: dict[str, Any]) -> str:
    told: dict[tuple[int, int], list[str]] = {}
    for one in found["crews"]:
        cell = f"{one['ratio']}" if one["near"] else f"not by {one['rows']:,} rows: {one['loss']}"
        told.setdefault((one["workers"], one["depth"]), []).append(cell)
    depths = sorted({depth for _, depth in told})
    rows = [
        [str(workers), *[" / ".join(told.get((workers, depth), [])) for depth in depths]]
        for workers in sorted({workers for workers, _ in told})
    ]
    head = STALENESS.format(near=found["near"], single=found["single"])
    return head + table(["workers", *[f"{depth} under way" for depth in depths]], rows)


PREFETCH = """
## How well fetching ahead hides the store

Rows a second of four workers, minibatches of 100, while all of them learn: with their blocks in memory, and with a
store that answers 20 ms late and hands each worker 50 MB a second, where every block is fetched again in each pass and
where blocks are kept as far as memory allows. Medians of runs that took turns, and of their ratios.
"""


def prefetch(found: dict[str, Any]) -> str:
    names = {"memory": "in memory", "far": "far, fetched in each pass", "far, kept": "far, kept"}
    rows = [[name, f"{found[key]['rows_per_second']:,}", f"{found[key]['ratio']}"] for key, name in names.items()]
    return table(["blocks", "rows a second", "of those in memory"], rows)


PARTS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("vowpal", VOWPAL, vowpal),
    ("preparation", PREPARATION, preparation),
    ("staleness", "", staleness),
    ("prefetch", PREFETCH, prefetch),
    ("keys", KEYS, keys),
    ("connections", CONNECTIONS, connections),
    ("scheduling", SCHEDULING, scheduling),
)

PICTURES: dict[str, Callable[[Any], str]] = {"keys": keys_picture}
"""Beside the page, each as an SVG file of its name."""
