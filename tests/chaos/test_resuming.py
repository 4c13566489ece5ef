"""A run whose driver was killed goes on from another process or machine, which says where, and what is done again."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from cirrus.cli.output import DONE
from cirrus.models import ModelSpec
from cirrus.runs import run
from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import newest_snapshot
from cirrus.store.opening import open_store
from cirrus.testing.seaweed import Seaweed
from cirrus.trained import Model
from tests.chaos.clicks import check_model, clicks, gate
from tests.chaos.costly import TALLY, Costly
from tests.chaos.drive import Task
from tests.chaos.drivers import TREE, DriverProcess, driver
from tests.chaos.elsewhere import NAME, OWN_NAME
from tests.chaos.ground import store_in
from tests.chaos.models import CountedLogistic
from tests.chaos.trials import journal

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])
uvloop_only = pytest.mark.asyncio(loop_factories=["uvloop"])

SHARDS = 2


@dataclass(frozen=True)
class Machine:
    """As good as a machine: a home, a working directory and temporary files of its own, and nothing else."""

    folder: Path

    async def cirrus(self, *words: str) -> tuple[int | None, str, str]:
        """Exit code, standard output and standard error of the command."""
        for name in ("home", "temporary", "desk"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(self.folder / "temporary"),
            "PYTHONPATH": str(TREE),
        }
        process = await asyncio.create_subprocess_exec(
            *OWN_NAME, sys.executable, "-m", "tests.chaos.elsewhere", *words,
            stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=PIPE, cwd=self.folder / "desk", env=environment,
        )  # fmt: skip
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


async def steps_kept(store: ObjectStore, run_id: str) -> int:
    """Steps that are in the newest snapshots of all shards, as their ledgers say."""
    lasts: list[Mapping[int, int]] = []
    for shard in range(SHARDS):
        found = (await newest_snapshot(store, f"runs/{run_id}/shards/{shard:03d}")).snapshot
        ledgers: Any = found.header["ledgers"] if found is not None else {}
        _, *entries = ledgers.get("1", [0])
        lasts.append(dict(zip(entries[0::3], entries[2::3], strict=True)))
    return sum(1 + min(one.get(unit, -1) for one in lasts) for unit in lasts[0])


async def steps_told(store: ObjectStore, run_id: str) -> int:
    """Steps of the last progress of training that the run's log has."""
    keys = [info.key async for info in store.list(f"runs/{run_id}/events/")]
    lines = [json.loads(line)["event"] for key in keys for line in (await store.get(key)).splitlines()]
    return max((one["steps"] for one in lines if one["type"] == "StageProgress"), default=0)


def steps_said(said: Sequence[Mapping[str, Any]]) -> list[int]:
    """Steps of all progress that a driver has printed."""
    return [one["steps"] for one in said if one.get("event") == "StageProgress" and one["stage"] == "train"]


async def model(store: ObjectStore, run_id: str, kind: type[ModelSpec]) -> Model:
    """What the run has learnt."""
    key = f"runs/{run_id}/train/model.safetensors"
    return Model.from_bytes(await store.get(key), key, (kind,))


async def lost_with_its_machine(first: DriverProcess) -> None:
    """Everything of the run ends at once: no shard has the time to save anything."""
    first.send(signal.SIGSTOP)
    for pid in first.left():
        if pid != first.process.pid:
            os.kill(pid, signal.SIGKILL)
    first.send(signal.SIGKILL)
    await first.end()
    await first.gone(10)


@asyncio_only
async def test_steps_that_no_snapshot_has_are_done_again_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tally = tmp_path / "tally"
    monkeypatch.setenv(TALLY, str(tally))
    task = Task(str(tmp_path), rows=3200, passes=1, pause=0.005, shards=SHARDS, snapshot=600.0)
    store = store_in(tmp_path).open()
    async with driver(task) as first:
        assert await first.learnt(units=5)
        while not await steps_told(store, first.run_id):
            assert await first.learnt(units=5)
        await lost_with_its_machine(first)
    told = await steps_told(store, first.run_id)
    assert told in steps_said(first.said), "which the driver has printed as well"
    code, out, err = await Machine(tmp_path / "other").cirrus("resume", first.run_id, "--store", store.url, "--json")
    assert (code, err) == (DONE, "")
    assert json.loads(out)["resumed"] == {"train": {"steps": 0, "again": told}}
    every = task.passes * task.oracle.steps
    assert json.loads(out)["metrics"]["train"]["steps"] == every
    assert tally.stat().st_size >= every + told > every, "gradients that were computed, by both drivers' workers"
    task.oracle.check_model(await model(store, first.run_id, Costly))
    await store.close()


@uvloop_only
async def test_where_the_shards_live_to_save_all_nothing_is_done_again(tmp_path: Path) -> None:
    task = Task(str(tmp_path), rows=3200, passes=1, pause=0.005, shards=SHARDS, snapshot=600.0)
    store = store_in(tmp_path).open()
    async with driver(task) as first:
        assert await first.learnt(units=5)
        first.send(signal.SIGKILL)
        await first.end()
        await first.gone(30)
    kept = await steps_kept(store, first.run_id)
    assert kept >= max(steps_said(first.said)) > 0
    code, out, err = await Machine(tmp_path / "other").cirrus("resume", first.run_id, "--store", store.url)
    assert code == DONE
    assert f"train: goes on at step {kept:,} (" in err
    assert "; 0 steps that were done after it are done again" in err
    assert re.search(rf"^train resumed at step +{kept:,}; 0 done again$", out, re.MULTILINE)
    await store.close()


@pytest.mark.timeout(240)
@asyncio_only
async def test_a_run_goes_on_on_another_machine_with_nothing_but_its_store(
    tmp_path: Path, server: Seaweed, record_property: Any
) -> None:
    gone, other = tmp_path / "gone", Machine(tmp_path / "other")
    gone.mkdir()
    url = f"s3://resuming/{token_hex(4)}?endpoint={server.endpoint}"
    store = open_store(url)
    async with driver(Task(str(gone), what="clicks", store=url, shards=SHARDS)) as first:
        assert await first.learnt(units=1)
        while not 0 < await steps_kept(store, first.run_id) < await steps_told(store, first.run_id):
            assert await first.until(lambda one: one.get("event") == "StageProgress")
        await lost_with_its_machine(first)
    run_id, before = first.run_id, await journal(store, first.run_id)
    kept, told = await steps_kept(store, run_id), await steps_told(store, run_id)
    assert told in steps_said(first.said)
    undisturbed = gone.rename(tmp_path / "undisturbed")
    gone.mkdir()
    gate(gone).touch()  # all that is left of it is what lets learning be quick
    code, out, err = await other.cirrus("ls", "--store", url, "--json")
    assert (code, [one["outcome"] for one in json.loads(out)]) == (DONE, ["parked"])
    code, out, err = await other.cirrus("resume", run_id, "--store", url, "--json")
    assert (code, err) == (DONE, "")
    found = json.loads(out)
    assert found["resumed"] == {"train": {"steps": kept, "again": max(0, told - kept)}}
    after = await journal(store, run_id)
    assert after[: len(before)] == before
    assert [one["kind"] for one in after] == ["prepared", "taken", "finished"]
    holder = json.loads(await store.get(f"runs/{run_id}/holder.json"))["holder"]
    assert holder.endswith(f" on {NAME}") == bool(OWN_NAME)
    code, out, err = await other.cirrus("attach", run_id, "--store", url, "--json")
    shown = [json.loads(line) for line in out.splitlines()]
    assert [one["epoch"] for one in shown if one["type"] == "RunStarted"] == [1, 2]
    assert (code, shown[-1]["outcome"]) == (DONE, "done")
    await check_model(store, run_id, await model(store, run_id, CountedLogistic))
    await store.close()
    gate(undisturbed).touch()
    calm = await run(clicks(undisturbed, 2, SHARDS), on=store_in(undisturbed))
    losses = found["metrics"]["train"]["log_loss"], calm.metrics["train"]["log_loss"]
    record_property("log loss on another machine, and undisturbed", losses)
    assert abs(losses[0] - losses[1]) <= 0.003
    assert found["metrics"]["train"]["steps"] == calm.metrics["train"]["steps"]
