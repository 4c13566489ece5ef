"""``cirrus attach``, ``scale`` and ``kill``: commands in processes of their own, for a run in another."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from cirrus.cli.output import DONE, FAILED, INTERRUPTED, WRONG
from tests.chaos.drive import Task
from tests.chaos.drivers import TREE, driver

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])


HEARS = ("env", "--default-signal=INT")
"""Who runs these tests in the background may have told all of its children to ignore Ctrl-C."""


async def command(folder: Path, *words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *HEARS, sys.executable, "-m", "cirrus", *words, "--store", str(folder / "store"),
        stdout=PIPE, stderr=PIPE, cwd=TREE,
    )  # fmt: skip


async def done(folder: Path, *words: str) -> tuple[int | None, str, str]:
    """Exit code, standard output and standard error."""
    process = await command(folder, *words)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@asyncio_only
async def test_a_run_is_watched_scaled_and_killed_by_command(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path), rows=3200, passes=2000)) as going:
        assert await going.learnt(units=1)
        run_id = going.run_id
        watching = asyncio.ensure_future(done(tmp_path, "attach", run_id, "--json"))
        lines = asyncio.ensure_future(done(tmp_path, "attach", run_id))
        assert await done(tmp_path, "scale", run_id, "train", "1") == (DONE, "train: 1 workers wished for\n", "")
        code, out, err = await done(tmp_path, "scale", run_id, "trian", "1")
        assert (code, out) == (WRONG, "")
        assert err == "cirrus: stage: got 'trian'; allowed: 'prepare', 'train'\n"
        code, out, err = await done(tmp_path, "kill", run_id, "--reason", "enough", "--json")
        told = {"run_id": run_id, "trial": None, "reason": "enough", "run": "running"}
        assert (code, json.loads(out), err) == (DONE, told, "")
        await going.end()
        code, out, err = await watching
        seen = [json.loads(line) for line in out.splitlines()]
        code_of_lines, nothing, text = await lines
        again = await done(tmp_path, "kill", run_id, "--reason", "again")
    assert (code, err) == (FAILED, f"cirrus: run {run_id!r} was killed: enough\n")
    assert [seen[0]["type"], seen[-1]["type"], seen[-1]["outcome"]] == ["RunStarted", "RunFinished", "killed"]
    assert {"type": "WorkersScaled", "stage": "train", "workers": 1}.items() <= next(
        one for one in seen if one["type"] == "WorkersScaled"
    ).items()
    assert (code_of_lines, nothing) == (FAILED, "")
    assert "train: 1 workers wished for" in text
    assert "was killed: enough" in text.splitlines()[-1]
    assert again[0] == DONE


@asyncio_only
async def test_ctrl_c_detaches_and_a_dead_driver_is_named(tmp_path: Path) -> None:
    async with driver(Task(str(tmp_path), rows=3200, passes=2000)) as going:
        assert await going.learnt(units=1)
        run_id = going.run_id
        watching = await command(tmp_path, "attach", run_id, "--json")
        assert watching.stdout is not None
        await watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, err = await watching.communicate()
        assert watching.returncode == INTERRUPTED
        assert err.decode().splitlines()[0] == f"cirrus: detached; run {run_id} goes on as it was"
        assert await going.learnt(units=10), "it has not noticed"
        going.send(signal.SIGKILL)
        await going.end()
        await going.gone(60)
        left = await command(tmp_path, "attach", run_id)
        assert left.stderr is not None
        while b"is gone; cirrus resume" not in (line := await left.stderr.readline()):
            assert line, "it says so before it ends"
        code, out, err_of_kill = await done(tmp_path, "kill", run_id)
        assert (code, err_of_kill) == (DONE, "")
        assert out.startswith(f"run {run_id} is killed: by order; nobody drove it")
        _, text = await left.communicate()
    assert left.returncode == FAILED
    assert text.decode().splitlines()[-1] == f"cirrus: run {run_id!r} was killed: by order"
    code, out, _ = await done(tmp_path, "attach", "nothing-20260101-0000")
    assert (code, out) == (WRONG, "")
