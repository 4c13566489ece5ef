"""``cirrus ls``: the runs of a store, the newest first."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime

from cirrus.actors.records import is_gone
from cirrus.cli.output import print_json, print_table
from cirrus.clock import SystemClock
from cirrus.cloud.places import local
from cirrus.errors import Corrupt, NotFound
from cirrus.store.base import ObjectStore
from cirrus.store.holding import state_of
from cirrus.store.opening import open_store


async def list_runs(arguments: Namespace) -> None:
    """Print every run with its outcome."""
    store = open_store(local(arguments.store).url)
    try:
        runs = [await _run(store, info.key) async for info in store.list("runs/") if info.key.endswith("/run.json")]
    finally:
        await store.close()
    runs.sort(key=lambda one: str(one["started"]), reverse=True)
    if arguments.json:
        print_json(runs)
        return
    rows = [("RUN", "STARTED (UTC)", "OUTCOME", "LOG LOSS", "DOLLARS")]
    print_table(rows + [_row(one) for one in runs])


async def _run(store: ObjectStore, key: str) -> dict[str, object]:
    """What is known of a run; one that cannot be read does not hide the others."""
    try:
        return await _readable(store, key)
    except (Corrupt, KeyError) as error:
        run_id = key.split("/")[1]
        return {"run_id": run_id, "name": None, "started": 0.0, "outcome": "unreadable", "reason": str(error)}


async def _readable(store: ObjectStore, key: str) -> dict[str, object]:
    run = await document(store, key)
    state = await state_of(store, str(run["run_id"]), SystemClock().wall(), is_gone)
    try:
        result = await document(store, key.removesuffix("run.json") + "result.json")
    except NotFound:
        result = {"outcome": state}
    if state == "running":  # it was taken up again after it had ended before its time
        result = {"outcome": state}
    return {"run_id": run["run_id"], "name": run.get("name"), "started": run["started"], **result}


async def document(store: ObjectStore, key: str) -> dict[str, object]:
    """A JSON object of the store; ``Corrupt`` where it is something else."""
    try:
        found = json.loads(await store.get(key))
    except ValueError as error:
        raise Corrupt(key, "it is not JSON") from error
    if not isinstance(found, dict):
        raise Corrupt(key, "it is no JSON object")
    return found


def _row(run: dict[str, object]) -> tuple[str, ...]:
    started = datetime.fromtimestamp(float(str(run["started"])), UTC).strftime("%Y-%m-%d %H:%M:%S")
    metrics = run.get("metrics")
    losses = [
        figures["log_loss"]
        for figures in (metrics.values() if isinstance(metrics, dict) else ())
        if isinstance(figures, dict) and "log_loss" in figures
    ]
    cost = run.get("cost")
    dollars = cost.get("dollars") if isinstance(cost, dict) else None
    return (
        str(run["run_id"]), started, str(run["outcome"]), f"{losses[-1]:.4f}" if losses else "",
        "" if dollars is None else f"{dollars:.4f}",
    )
