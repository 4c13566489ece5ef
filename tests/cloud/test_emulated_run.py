"""Whole runs through the emulator: the bundle, AWS's own SDK and runtime client, a real S3 server."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

import psutil
import pytest

from cirrus.emulator.place import emulated
from cirrus.errors import InvokeError
from cirrus.events import StageProgress, WorkerStarted
from cirrus.runs import resume, start
from cirrus.runs import run as run_through
from cirrus.store.opening import open_store
from tests.chaos.ground import Oracle
from tests.cloud.lambda_ground import BUCKET, Ground
from tests.cloud.sockets import listening

ROOT = Path(__file__).parents[2]
ROWS = "200000"


async def demo(*words: str) -> dict[str, float]:
    """What ``cirrus demo`` prints."""
    command = (sys.executable, "-m", "cirrus", "demo", "--rows", ROWS, "--json", *words)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE)
    said, _ = await child.communicate()
    assert child.returncode == 0
    found: dict[str, float] = json.loads(said)
    return found


@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_demo_learns_on_the_emulator_what_it_learns_here(tmp_path: Path) -> None:
    here, there = await demo("--store", str(tmp_path)), await demo("--on", "emulator")
    assert abs(here["log_loss"] - there["log_loss"]) < 0.003
    assert here["optimum"] == there["optimum"]
    assert here["dollars"] == 0.0 < there["dollars"]


@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_workers_are_under_the_runtime_client_keep_objects_on_s3_and_listen_nowhere(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=4, pause=0.01)
    seen: list[int] = []
    before = psutil.Process().children(recursive=True)
    async with ground.function() as found:
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=ground.place(found)) as run:
            async for event in run.events():
                if isinstance(event, WorkerStarted) and event.stage == "train":
                    seen.append(event.pid)
                    assert "/runtime_client" in Path(f"/proc/{event.pid}/maps").read_text()
                    assert "cirrus-emulator-" in str(Path(f"/proc/{event.pid}/cwd").readlink())
                    assert listening(event.pid) == []
            result = await run.result()
        assert [one.outcome for one in found.reports] == ["done"] * len(found.reports)
        assert len(found.reports) == result.cost.invocations
        assert sum(one.gb_seconds for one in found.reports) <= result.cost.gb_seconds
        store = open_store(ground.place(found).url)
        keys = [one.key async for one in store.list(f"runs/{result.run_id}/")]
        await store.close()
    oracle.check(result)
    assert len(seen) == 2
    assert f"runs/{result.run_id}/prepare/manifest.json" in keys
    assert psutil.Process().children(recursive=True) == before


def emulators() -> list[psutil.Process]:
    """The emulators that runs of this process have started."""
    return [one for one in psutil.Process().children() if "cirrus.emulator.process" in one.cmdline()]


@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_a_run_whose_emulator_is_killed_is_parked_and_goes_on_with_another(
    tmp_path: Path, ground: Ground
) -> None:
    oracle = Oracle(rows=640, passes=6, pause=0.01)
    place = emulated(f"s3://{BUCKET}", memory=512, extra=ground.extra)
    folders: set[Path] = set()  # what is killed cannot remove its own
    async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as run:
        async for event in run.events():
            if isinstance(event, WorkerStarted):
                folders.add(Path(f"/proc/{event.pid}/cwd").readlink().parent)
            if isinstance(event, StageProgress) and event.stage == "train" and event.done > 2:
                for one in emulators():
                    one.kill()
        with pytest.raises(InvokeError, match="the emulator has ended with exit code -9"):
            await run.result()
    assert emulators() == []
    for folder in folders:
        assert folder.name.startswith("cirrus-emulator-")
        shutil.rmtree(folder)
    oracle.check(await resume(run.run_id, on=place))


@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["uvloop"])
async def test_what_is_wrong_with_a_bundle_is_told_and_nothing_runs(tmp_path: Path) -> None:
    taken = tmp_path / "numpy" / "__init__.py"
    taken.parent.mkdir()
    taken.touch()
    oracle = Oracle(rows=64, passes=1)
    place = emulated(tmp_path / "store", extra=(str(taken.parent),))
    with pytest.raises(InvokeError, match="names that are not taken"):
        await run_through(oracle.pipeline(tmp_path, oracle.train(workers=1)), on=place)
    assert emulators() == []
