"""Viewers over real connections: at their own pace, without a missing or double point, and nobody waits for one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import aiohttp
import pytest

from cirrus import events
from cirrus.page import feed as feeds
from cirrus.page.serving import Served, served
from cirrus.page.sight import LOG
from tests.page.scripted import EVIL, Scripted, loss
from tests.page.test_routes import Client, visited
from tests.page.viewer import Viewer

ROUNDS = 30
"""Of messages of 200 kB each: more than the buffers of a connection on loopback hold."""


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
    """A viewer that asks and does not read, with as small a buffer as there is."""
    port = int(page.url.rsplit(":", 1)[1].strip("/"))
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.sendall(f"GET /events HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    connection.setblocking(False)
    return connection


async def come_back(connection: socket.socket, viewer: Viewer, last: float) -> int:
    """Read all that was held back, until the point ``last``; how many bytes came."""
    loop = asyncio.get_running_loop()
    rest, count = b"", 0
    while last not in points(viewer):
        data = await loop.sock_recv(connection, 2**20)
        assert data
        count += len(data)
        whole, gap, rest = (rest + data).rpartition(b"\n\n")
        viewer.take(whole + gap)
    return count


async def test_nobody_waits_for_a_viewer_that_is_stuck_and_it_gets_the_whole_state_when_it_reads_again() -> None:
    run, viewer, late, said = Scripted(), Viewer(), Viewer(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feeds, "KEPT", 2)
        async with visited(run) as client:
            await client.enter()
            (jar,) = client.http.cookie_jar
            with stuck(client.page, f"{jar.key}={jar.value}") as connection:
                for number in range(ROUNDS):
                    for slot in range(LOG):
                        reason = f"{number} {slot} " + "x" * 350
                        run.say(events.WorkerReplaced(at=1.0, stage="train", slot=slot, attempt=2, reason=reason))
                        said += len(reason)
                    run.say(loss(float(number), 0.5, None, "train"))
                    await read_until(client, viewer, lambda viewer: len(points(viewer)) > number)  # noqa: B023
                assert run.bus.readers == 1, "viewers share one reader of the run"
                read = await come_back(connection, late, float(ROUNDS - 1))
    assert points(viewer) == points(late) == [float(number) for number in range(ROUNDS)]
    assert late.wholes >= 2
    assert read < said


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
