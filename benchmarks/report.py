"""The measured figures as a page: ``docs/benchmarks.md`` out of ``benchmarks/results``.

    python -m benchmarks.report
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import claims
from benchmarks.peers.figures import HEAD as PEERS
from benchmarks.peers.figures import peers
from benchmarks.setting import RESULTS
from benchmarks.tables import table

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
HEAD = """# Benchmarks

Measured figures only, written by `scripts/bench`.
Rates move with what else the machine does; processor time moves less.
"""
STEP = """
## What a step costs a shard

One worker that computes nothing, one shard process, AdaGrad with damping on a table of 2^20 rows. Microseconds of
processor time a step, shard / worker: the least of several runs, since neighbours only add to it. `depth` is how many
steps are under way, and `group` how many go in a message.
"""
THROUGHPUT = """
## Steps a second

Sparse logistic regression with AdaGrad on Criteo-shaped rows of 39 values, 2^18 features, all on this one machine. *C*
is the same learning as a loop in one process without a network. *Naive* pulls, computes and pushes in turn, with numpy
at both ends. Medians of runs that took turns.
"""
SNAPSHOTS = """
## What snapshots cost those who push

Round trips in milliseconds of two workers that do a step of 100 rows every two milliseconds, AdaGrad with an L2 penalty
on a table of 2^24 rows in one shard process: without snapshots, and with one after the other being taken. Medians of
periods of five seconds that took turns; the longest is that of all periods.
"""

COLD_START = """
## How long a worker takes to come

Milliseconds from the making of its process to its first lease, with nothing but the bundle to import from: as a plain
process, as a function under AWS's runtime client in a new interpreter, and forked by the emulator's server. Wall time
is that of this machine, as busy as it was; processor time is the worker's own.
"""

ESTIMATES = """
## How near an estimate comes

The pipeline of `cirrus demo`, estimated from its two small trials as `cirrus estimate` does, and then run and metered
at the same prices: as processes of this machine billed like functions, and as functions on the emulator. Dollars,
medians of rounds that took turns; the ratio is the median of the rounds' ratios.
"""

TRIALS = """
## A hundred trials at once

Trials of 2^18 weights with AdaGrad's state on one shard, each with a worker of its own, beside one trial alone, with
such a worker and with one for each core, in turn; medians. Processor time is in microseconds a row. A worker of
functions has a processor of its own: then what the shard spends is what trials take from each other. Here a hundred
workers share the shard's cores, and find their caches cold at each turn. Memory is that of the shard beyond what it has
without tables.
"""

VIEWERS = """
## What viewers of the live page cost

Samples a second of a run whose page has so many viewers, one of whom never reads, beside the same without; medians of
runs that took turns. The viewers take what processor time is left over, as they live elsewhere.
"""

LONG = """
## What the page of a long run takes

A run of a hundred trials whose losses are measured again and again, as fast as its page takes them in, and a viewer in
Chromium who follows. After so many points: MB of the page's own objects without garbage, MB of the browser's process
that shows it, MB of the process that serves it and says the points, and nodes of the document.
"""


def where(setting: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in setting["versions"].items())
    machine = f"{setting['processor']}, {setting['cores']} cores"
    return (
        f"\n{setting['date']}: {machine}, Python {setting['python']}, {versions}. "
        f"Load before and after: {setting['load']} and {setting['load after']}.\n"
    )


def step(found: list[dict[str, Any]]) -> str:
    paces = sorted({(one["depth"], one["group"]) for one in found})
    cells = {
        (one["loops"], one["keys"], one["depth"], one["group"]): (
            f"{one['shard_us']['least']:.0f} / {one['worker_us']['least']:.0f}"
        )
        for one in found
    }
    rows = [
        [loops, f"{keys:,}", *[cells[loops, keys, *pace] for pace in paces]]
        for loops in ("compiled", "numpy")
        for keys in sorted({one["keys"] for one in found})
    ]
    return table(["loops", "rows a step", *[f"depth {depth}, group {group}" for depth, group in paces]], rows)


def throughput(found: list[dict[str, Any]]) -> str:
    cells = {(one["what"], one["minibatch"], one["workers"]): f"{one['steps_per_second']:,}" for one in found}
    workers = sorted({one["workers"] for one in found})
    rows = [
        [f"{size:,}", what, *[cells.get((what, size, count), "") for count in workers]]
        for size in sorted({one["minibatch"] for one in found})
        for what in ("C", "cirrus", "naive")
    ]
    return table(["minibatch", "", *[f"{count} worker{'s' * (count > 1)}" for count in workers]], rows)


def snapshots(found: dict[str, Any]) -> str:
    rows = [
        [f"{kind} snapshots", *[f"{found[kind][name]:.2f}" for name in ("p50_ms", "p99_ms", "longest_ms")],
         f"{found[kind]['snapshots']}"]
        for kind in ("without", "with")
    ]  # fmt: skip
    text = table(["", "p50", "p99", "longest", "taken"], rows)
    memory = f"{found['quiet_mb']} MB between snapshots, {found['peak_mb']} MB at most"
    return text + f"\nThe p99 with is {found['p99_ratio']} times that without. Memory of the shard: {memory}.\n"


def cold_start(found: list[dict[str, Any]]) -> str:
    rows = [
        [one["what"], *[f"{one[name]['median']}" for name in ("wall_ms", "processor_ms")],
         f"{one['many']['workers']} in {one['many']['seconds']} s" if "many" in one else ""]
        for one in found
    ]  # fmt: skip
    return table(["", "wall, median", "processor, median", "asked for at once"], rows)


def estimates(found: list[dict[str, Any]]) -> str:
    rows = [
        [one["what"], f"{one['rows']:,}", f"{one['estimated_dollars']:.6f}", f"{one['metered_dollars']:.6f}",
         f"{one['ratio']:.2f}"]
        for one in found
    ]  # fmt: skip
    return table(["", "rows", "estimated", "metered", "estimated / metered"], rows)


def trials(found: dict[str, Any]) -> str:
    head = ["trials", "workers", "rows a second", "shard, µs a row", "workers, µs a row"]
    rows = [
        [str(one["trials"]), str(one["workers"]), f"{one['rows_per_second']:,}", str(one["shard_us"]),
         str(one["workers_us"])]
        for one in found["rates"]
    ]  # fmt: skip
    memory = f"{found['computed_mb']} MB of tables, {found['used_mb']} MB used, {found['left_mb']} MB left behind"
    return table(head, rows) + f"\nOf all: {memory}.\n"


def viewers(found: dict[str, Any]) -> str:
    head = ["viewers", "samples a second", "without viewers", "ratio"]
    return table(head, [[str(found["viewers"]), *[f"{found[name]:,}" for name in ("with", "without", "ratio")]]])


def long(found: dict[str, Any]) -> str:
    names = ("page_mb", "browser_mb", "server_mb", "nodes")
    rows = [[f"{one['points']:,}", *[str(one[name]) for name in names]] for one in found["sizes"]]
    text = table(["points", "page", "browser", "server", "nodes"], rows)
    opened = f"{found['painted_ms']} ms after it was asked for, and all curves after {found['drawn_ms']} ms"
    most = f"{found['pace']} updates a second, and at most {found['most']:,} points of a series"
    return text + f"\nWith all of them behind it the page paints {opened}. It was sent {most}.\n"


def page() -> str:
    """All of the page for which there are figures."""
    text = HEAD
    parts: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("step", STEP, step),
        ("throughput", THROUGHPUT, throughput),
        ("snapshots", SNAPSHOTS, snapshots),
        ("cold_start", COLD_START, cold_start),
        ("estimates", ESTIMATES, estimates),
        ("trials", TRIALS, trials),
        ("viewers", VIEWERS, viewers),
        ("page", LONG, long),
        ("peers", PEERS, peers),
        *claims.PARTS,
    )
    for name, head, body in parts:
        path = RESULTS / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text())
            text += head + body(kept["found"]) + where(kept["setting"])
    return text


def pictures() -> None:
    """Draw what there are figures for, beside the page."""
    for name, picture in claims.PICTURES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            PAGE.with_name(f"{name}.svg").write_text(picture(json.loads(path.read_text())["found"]))


if __name__ == "__main__":
    PAGE.write_text(page())
    pictures()
