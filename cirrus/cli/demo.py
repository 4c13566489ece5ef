"""``cirrus demo``: made-up click data with a known optimum, prepared and learnt from."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from cirrus import checks
from cirrus.cli.output import print_json, print_table
from cirrus.cli.places import chosen, s3_server
from cirrus.cli.running import follow, spent
from cirrus.cli.show import choose
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.base import Place
from cirrus.emulator.place import emulated
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train, Tune
from cirrus.results import Result
from cirrus.search import Halving, choice, log_uniform
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs

FOLD = 5  # one row in so many is a test row


def demo_pipeline(path: str) -> Pipeline:
    """What the demo runs on the rows of ``path``: it tries rates and penalties, and learns with the best."""
    train = Train(LogisticRegression(), optimizer=Adagrad(), minibatch=100, until=epochs(2), workers=4)
    space = {"optimizer.rate": log_uniform(0.02, 0.5), "model.l2": choice(0.0, 1e-6)}
    return Pipeline(
        name="demo",
        data=criteo(path),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=18)), test=every(FOLD, at=FOLD - 1), workers=2),
            Tune(train, space=space, trials=6, at_once=4, prune=Halving(rungs=1), seed=1),
            Train.best(workers=4),
        ),
    )


async def demo(arguments: Namespace) -> None:
    """Make the data, run the pipeline, and report what was reached beside what can be reached."""
    checks.integer("--rows", arguments.rows, 1000, 100_000_000)
    checks.integer("--seed", arguments.seed, 0, 2**63 - 1)
    clock: Clock = SystemClock()
    began = clock.monotonic()
    with tempfile.TemporaryDirectory(prefix="cirrus-demo-") as folder, _ground(arguments, Path(folder)) as place:
        path = Path(folder) / "clicks.tsv"
        if not arguments.json:
            print(f"making {arguments.rows:,} rows of click data", file=sys.stderr)
        truth = await asyncio.to_thread(criteo_like, path, arguments.rows, arguments.seed)
        optimum = await asyncio.to_thread(truth.loss_of_truth, lambda numbers: numbers % FOLD == FOLD - 1)
        data = await _within_reach(path, place)
        port = None if arguments.json or find_spec("plotly") is None else 0
        result = await follow(demo_pipeline(data), place, choose(as_json=arguments.json), port=port)
    report(result, optimum, clock.monotonic() - began, as_json=arguments.json)


@contextmanager
def _ground(arguments: Namespace, folder: Path) -> Iterator[Place]:
    """The place; an emulator has its objects on an S3 server of its own, unless the options name a store."""
    if arguments.on == "emulator" and arguments.store is None:
        with s3_server(folder) as (_, url):
            yield emulated(url, extra=tuple(arguments.sources))
    else:
        yield chosen(arguments)


async def _within_reach(path: Path, place: Place) -> str:
    """Where workers find the file: on S3 where objects are."""
    if not place.url.startswith("s3:"):
        return str(path)
    store = place.open()
    try:
        await store.put(f"demo/{path.name}", await asyncio.to_thread(path.read_bytes))
    finally:
        await store.close()
    return f"{place.url.partition('?')[0]}/demo/{path.name}"


def report(result: Result, optimum: float, seconds: float, *, as_json: bool) -> None:
    """Print what the demo found."""
    prepared, trained = result.metrics["prepare"], result.metrics["train"]
    if as_json:
        print_json(
            {
                "run_id": result.run_id,
                "rows": int(prepared["rows_in"]),
                "log_loss": trained["log_loss"],
                "optimum": optimum,
                "auc": trained["auc"],
                "samples_per_second": trained["samples_per_second"],
                "seconds": seconds,
                "dollars": result.cost.dollars,
            }
        )
        return
    print_table(
        [
            ("run", result.run_id),
            ("rows in", f"{int(prepared['rows_in']):,}"),
            ("rows out", f"{int(prepared['train']):,} to train on, {int(prepared['test']):,} to test on"),
            ("test log loss", f"{trained['log_loss']:.4f}; the best that is possible on these rows is {optimum:.4f}"),
            ("AUC", f"{trained['auc']:.4f}"),
            ("samples per second", f"{trained['samples_per_second']:,.0f}"),
            *spent(result.cost),
            ("seconds", f"{seconds:.1f}"),
        ]
    )
