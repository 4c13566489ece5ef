"""The whole page on a living run, in a real browser: it is watched, steered, cut off, and ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cirrus import events
from cirrus.actors.kernel import Kernel
from cirrus.actors.records import is_alive
from cirrus.clock import SystemClock
from cirrus.cloud.places import local
from cirrus.errors import Killed
from cirrus.events import Event
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.page.serving import Served, served
from cirrus.pipeline import Pipeline, Prepare, Train, Tune
from cirrus.runs import Run, start
from cirrus.search import log_uniform
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.testing.proxy import Proxy, proxied
from cirrus.until import epochs
from cirrus.watching import Elsewhere
from tests.page.browser import Visitor, chromium, in_browser, on_asyncio

pytestmark = [in_browser, on_asyncio]


def searched(path: Path) -> Pipeline:
    """Six trials at once that go on until somebody ends them."""
    criteo_like(path, 6000, seed=5)
    train = Train(LogisticRegression(), optimizer=Adagrad(), until=epochs(100_000), workers=6)
    return Pipeline(
        name="walk",
        data=criteo(str(path)),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=14)), test=every(5, at=4), block=400),
            Tune(train, space={"optimizer.rate": log_uniform(1e-3, 1.0)}, trials=6, at_once=6),
        ),
    )


async def pids(run: Run, pool: str) -> set[int]:
    """The processes that the run has said to work in a pool."""
    history = run._bus.history
    return {one.pid for one in history if isinstance(one, events.WorkerStarted) and one.stage == pool}


async def gone(processes: set[int]) -> None:
    assert processes
    async with asyncio.timeout(5):
        while any(is_alive(pid) for pid in processes):
            await asyncio.sleep(0.02)


def measured(history: tuple[Event, ...], trial: int) -> list[float]:
    """When a trial's loss was measured, as the page is told it."""
    return [round(one.at, 3) for one in history if isinstance(one, events.LossReported) and one.trial == trial]


async def watch_it_move(visitor: Visitor) -> None:
    await visitor.until("() => document.querySelectorAll('#trials tbody tr').length === 6")
    await visitor.until("() => (document.getElementById('loss').data ?? []).length >= 5")
    before = await visitor.points()
    more = "(before) => document.getElementById('loss').data.reduce((sum, line) => sum + line.x.length, 0) > before + 5"
    await visitor.until(more, before)
    await visitor.until("() => (document.getElementById('rate').data ?? []).length >= 1")
    await visitor.page.check("[name=show][value=best]", force=True)
    await visitor.lines(5)
    best = set(await visitor.curves())
    await visitor.page.check("[name=show][value=worst]", force=True)
    await visitor.until("(first) => document.getElementById('loss').data[0].customdata[0] !== first", min(best))
    await visitor.page.check("[name=show][value=all]", force=True)
    await visitor.picture("walk")


async def cut_and_restore(visitor: Visitor, run: Run, proxy: Proxy) -> None:
    """While the connection is cut the run goes on; afterwards each point of a line is there once."""
    await visitor.page.evaluate("() => { window.kept = true; }")
    proxy.refuse()
    await visitor.views("lost")
    said = len(measured(run._bus.history, 0))
    async with asyncio.timeout(30):
        while len(measured(run._bus.history, 0)) < said + 3:
            await asyncio.sleep(0.05)
    proxy.accept()
    known = measured(run._bus.history, 0)
    script = """([last]) => (document.getElementById('loss').data ?? []).some(
        (line) => line.customdata[0] === 'tune/0' && line.x.at(-1) >= last)"""
    await visitor.until(script, [known[-1]])
    shown = (await visitor.curves())["tune/0"]
    assert shown == measured(run._bus.history, 0)[: len(shown)]
    assert await visitor.page.evaluate("() => window.kept"), "the page was not loaded again"


async def kill_a_line(visitor: Visitor, run: Run) -> None:
    theirs = await pids(run, "tune.trial2")
    await visitor.page.click("tr[data-key='tune/2']")
    assert "optimizer.rate" in await visitor.text("#panel-settings")
    await visitor.page.click("#panel-kill")
    await visitor.page.click("#ask-yes")
    await gone(theirs)
    await visitor.shows("#panel-state", "killed: from the page")
    await visitor.picture("walk-killed")
    await visitor.page.click("#panel-close")


SCALE = "[data-stage=tune] .scale"


async def scale_it(visitor: Visitor, run: Run) -> None:
    """One trial has gone: its worker went to another, and one less is wished for twice."""
    for wanted in (5, 4):
        await visitor.page.click(f"{SCALE} button >> nth=0")
        await visitor.shows(f"{SCALE} span", f"of {wanted} ")
    async with asyncio.timeout(30):
        while sum(one.stage.startswith("tune.trial") and one.state == "running" for one in run.workers) > 4:
            await asyncio.sleep(0.05)
    await visitor.shows(f"{SCALE} span", "4 of 4")


async def walk(visitor: Visitor, run: Run, site: Served) -> None:
    async with Kernel(SystemClock()) as kernel, proxied(kernel) as proxy:
        proxy.target = site.url
        await visitor.page.goto(f"{proxy.url}/#{site.address().rpartition('#')[2]}")
        await watch_it_move(visitor)
        await cut_and_restore(visitor, run, proxy)
        await kill_a_line(visitor, run)
        await scale_it(visitor, run)
        theirs = {one.pid for one in run._bus.history if isinstance(one, events.WorkerStarted)}
        await visitor.page.click("#kill-all")
        await visitor.picture("walk-ask")
        await visitor.page.click("#ask-yes")
        await gone(theirs)
        await visitor.views("ended")
        await visitor.shows("#state", "killed: from the page")
        await visitor.picture("walk-ended")


async def test_the_whole_page_on_a_living_run_and_again_from_its_store(tmp_path: Path) -> None:
    place = local(tmp_path / "store")
    pipeline = searched(tmp_path / "rows.tsv")
    async with chromium(tmp_path) as visitor:
        async with start(pipeline, on=place) as run, served(run) as site:
            await walk(visitor, run, site)
            with pytest.raises(Killed, match="from the page"):
                await run.result()
        visitor.trouble = [one for one in visitor.trouble if "ERR_" not in one]
    async with chromium(tmp_path) as visitor, served(Elsewhere(run.run_id, place)) as site:
        await visitor.page.goto(site.address())
        await visitor.views("ended")
        await visitor.until("() => document.querySelectorAll('#trials tbody tr').length === 6")
        await visitor.until("() => (document.getElementById('loss').data ?? []).length >= 5")
        assert await visitor.text("#state") == "killed: from the page"
        await visitor.picture("walk-from-the-store")
