"""Viewers over real connections: at their own pace, without a missing or double point, and nobody waits for one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import aiohttp

from cirrus import events
from cirrus.page.serving import Served, served
from tests.page.scripted import EVIL, Scripted, loss
from tests.page.test_routes import Client, visited
from tests.page.viewer import Viewer


async def read_until(client: Client, viewer: Viewer, done: Callable[[Viewer], bool]) -> None:
    """Listen until ``done``, then hang up, wherever the stream is."""
    headers = {"Last-Event-ID": viewer.last} if viewer.last else {}
    rest = b""
    async with client.http.get(client.page.url + "events", headers=headers) as stream:
        assert stream.status == 200
        while not done(viewer):
            rest += await stream.content.readany()
            whole, gap, rest = rest.rpartition(b"\n\n")
            viewer.take(whole + gap)


def points(viewer: Viewer) -> list[float | None]:
    return [row[0] for row in viewer.series.get("loss/train", [])]


async def test_who_is_cut_off_again_and_again_sees_every_point_once() -> None:
    run, viewer = Scripted(), Viewer()
    async with visited(run) as client:
        await client.enter()
        for number in range(12):
            run.say(loss(float(number), 0.5, None, "train"))
            await read_until(client, viewer, lambda viewer: len(points(viewer)) > number)  # noqa: B023  awaited here
        assert points(viewer) == [float(number) for number in range(12)]
        assert viewer.wholes == 1


async def test_what_happened_while_nobody_listened_comes_with_the_next_connection() -> None:
    run, viewer, other = Scripted(), Viewer(), Viewer()
    async with visited(run) as client:
        await client.enter()
        run.say(loss(0.0, 0.5, None, "train"))
        await read_until(client, viewer, lambda viewer: len(points(viewer)) == 1)
        for number in range(1, 6):
            run.say(loss(float(number), 0.5, None, "train"))
            await read_until(client, other, lambda other: len(points(other)) > number)  # noqa: B023  awaited here
        await read_until(client, viewer, lambda viewer: len(points(viewer)) == 6)
        assert points(viewer) == points(other) == [float(number) for number in range(6)]
        assert viewer.wholes == 1


def state(viewer: Viewer) -> object:
    run = viewer.state.get("run", {})
    return run.get("state") if isinstance(run, dict) else None


def stuck(page: Served, cookie: str) -> socket.socket:
    """A viewer that asks and never reads, with as small a buffer as there is."""
    port = int(page.url.rsplit(":", 1)[1].strip("/"))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    return connection


async def test_nobody_waits_for_a_viewer_that_is_stuck() -> None:
    run, viewer = Scripted(), Viewer()
    async with visited(run) as client:
        await client.enter()
        (jar,) = client.http.cookie_jar
        with stuck(client.page, f"{jar.key}={jar.value}"):
            for number in range(30):
                for slot in range(20):
                    reason = f"{number} {slot} " + "x" * 350
                    run.say(events.WorkerReplaced(at=1.0, stage="train", slot=slot, attempt=2, reason=reason))
                run.say(loss(float(number), 0.5, None, "train"))
            await read_until(client, viewer, lambda viewer: len(points(viewer)) == 30)
            assert run.bus.readers == 1, "viewers share one reader of the run"


async def test_an_ended_run_is_told_to_the_last_word_though_the_server_stops() -> None:
    run, viewer = Scripted(), Viewer()
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        async with served(run) as page:
            client = Client(http, page)
            await client.enter()
            run.say(events.RunStarted(at=0.0, run_id=run.run_id, store="s"))
            await read_until(client, viewer, lambda viewer: state(viewer) == "running")
            stream = await http.get(page.url + "events", headers={"Last-Event-ID": viewer.last})
            run.say(events.RunFinished(at=1.0, outcome="failed", reason=EVIL, dollars=0.0))
            run.bus.close()
            await asyncio.sleep(0)  # the run's last words are read; no message has been made of them
        viewer.take(await stream.content.read())
    assert viewer.state["run"]["state"] == "failed"
    assert viewer.state["run"]["reason"] == EVIL


async def test_a_run_that_nobody_drives_any_more_is_parked() -> None:
    run, viewer = Scripted(), Viewer()
    async with visited(run) as client:
        await client.enter()
        run.say(events.RunStarted(at=0.0, run_id=run.run_id, store="s"))
        run.bus.close()
        await read_until(client, viewer, lambda viewer: state(viewer) == "parked")
