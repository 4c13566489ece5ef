"""The page beside a command: of a run that this process drives, and of one that another does, killed from there."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from cirrus.cli.output import FAILED, WRONG
from cirrus.clock import SystemClock
from cirrus.page.app import PAUSE, Page
from cirrus.page.door import Door
from cirrus.page.serving import Served
from cirrus.testing.clock import ManualClock
from cirrus.testing.data import criteo_like
from tests.page.scripted import Scripted, loss
from tests.page.test_routes import Client
from tests.page.test_stream import points, read_until
from tests.page.viewer import Viewer, messages

asyncio_only = pytest.mark.asyncio(loop_factories=["asyncio"])

PIPELINE = """
import cirrus
from cirrus import Adagrad, Bucket, Hash, LogisticRegression, Pipeline, Prepare, Train, epochs, every

pipeline = Pipeline(
    name="clicks",
    data=cirrus.criteo("rows.tsv"),
    stages=(
        Prepare(steps=(Bucket(), Hash(bits=12)), test=every(5, at=4), block=400),
        Train(LogisticRegression(), optimizer=Adagrad(), until=epochs(100000), workers=2),
    ),
)
"""


async def command(folder: Path, *words: str) -> Process:
    given = (sys.executable, "-m", "cirrus", *words, "--store", str(folder / "store"))
    return await asyncio.create_subprocess_exec(*given, cwd=folder, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def opened(process: Process) -> AsyncIterator[Client]:
    """A session at the page whose address the command prints first."""
    assert process.stderr is not None
    line = (await process.stderr.readline()).decode()
    assert line.startswith("live page: http://127.0.0.1:")
    url, _, code = line.split()[2].partition("#")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        client = Client(http, Served(url, Door(SystemClock(), None)))
        assert (await client.order("session", {"code": code}))[0] == 200
        client.csrf = (await (await http.get(url + "session")).json())["csrf"]
        yield client


@asyncio_only
async def test_a_run_is_shown_beside_its_command_and_killed_from_the_page_of_another(tmp_path: Path) -> None:
    await asyncio.to_thread(criteo_like, tmp_path / "rows.tsv", 3000, 1)
    (tmp_path / "clicks.py").write_text(PIPELINE)
    here, there = Viewer(), Viewer()
    running = await command(tmp_path, "run", "clicks.py", "--dashboard")
    async with opened(running) as client:
        await read_until(client, here, lambda viewer: len(points(viewer)) >= 2)
        run_id = here.state["run"]["id"]
        watching = await command(tmp_path, "attach", run_id, "--dashboard")
        async with opened(watching) as other:
            await read_until(other, there, lambda viewer: len(points(viewer)) >= 2)
            assert (await other.order("scale", {"stage": "train", "workers": 1}))[0] == 200
            assert (await other.order("scale", {"stage": "trian", "workers": 1}))[0] == 422
            assert (await other.order("kill", {}))[0] == 200
            await read_until(other, there, lambda viewer: viewer.state["run"]["state"] == "killed")
            assert points(there)[: len(points(here))] == points(here)
            assert [stage["wished"] for stage in there.state["stages"]][-1] == 1
            watching.terminate()
        await watching.communicate()
        _, err = await running.communicate()
    assert running.returncode == FAILED
    assert b"from the page" in err


@asyncio_only
async def test_a_port_without_a_page_is_refused(tmp_path: Path) -> None:
    process = await command(tmp_path, "attach", "clicks-1", "--port", "8000")
    _, err = await process.communicate()
    assert (process.returncode, err) == (WRONG, b"cirrus: --port: got 8000; allowed: with --dashboard\n")


async def test_viewers_hear_at_most_four_times_a_second() -> None:
    clock, run = ManualClock(), Scripted()
    page = Page(run, Door(clock, None), clock)
    app = page.app(())
    app.freeze()
    await app.startup()
    try:
        for number in range(100):
            run.say(loss(float(number), 0.5, None, "train"))
            await clock.advance(0.05)
        stream = page._feed.since(f"{page._feed._server}-0")[0]
        heard = [len(one.document.get("add", {}).get("loss/train", [])) for one in messages(stream)]
        assert len(heard) <= 100 * 0.05 / PAUSE + 1
        assert sum(heard) >= 95
    finally:
        await app.shutdown()
        await app.cleanup()
