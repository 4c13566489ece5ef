"""Workers on real shards: every step counts exactly once on every shard, whatever breaks between."""

from __future__ import annotations

import asyncio
import dataclasses

import numpy as np
import pytest
from aiohttp import web
from numpy.testing import assert_array_equal

from cirrus.actors.steps import StepClient, ask
from cirrus.errors import Closed, Refused, WireError
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats, Keys
from cirrus.optimizers import SGD
from cirrus.wire import frames
from tests.actors.shards import CLOCK, WEIGHTS, cluster

pytestmark = pytest.mark.usefixtures("loops")

STEPS = 20


def keys_of(unit: int, step: int) -> Keys:
    """The rows of a step: some of them with one remainder only, so that shards have steps without rows."""
    chance = np.random.default_rng((unit, step))
    found = np.flatnonzero(chance.random(100) < 0.1).astype(np.uint32)
    return found[found % 3 == 0] if step % 4 == 0 else found


def counted(*units: int, steps: int = STEPS) -> Floats:
    """What the weights must be when each step has counted once: how often each row occurred."""
    whole = np.zeros((100, 1), np.float32)
    for unit in units:
        for step in range(steps):
            whole[keys_of(unit, step)] += 1
    return whole


async def work(client: StepClient, unit: int, attempt: int = 0, depth: int = 1, until: int = STEPS) -> int:
    """Do a unit from where it stands, pushing -1 for each row; returns where it began."""
    first = await client.open(unit, attempt)
    for step in range(first, min(first + depth, until)):
        await client.pull(client.ask([keys_of(unit, step)]))
    for step in range(first, until):
        (rows,) = await client.rows()
        assert rows.shape == (len(keys_of(unit, step)), 1)
        gradients = [np.full(rows.shape, -1, np.float32)]
        if step + depth < until:
            await client.push_pull(step, gradients, client.ask([keys_of(unit, step + depth)]))
        else:
            await client.push(step, gradients)
    await client.flush()
    return first


@pytest.mark.parametrize(("depth", "group"), [(1, 1), (2, 1), (5, 1), (8, 4), (3, 4)])
@pytest.mark.parametrize("count", [1, 3])
async def test_every_step_counts_once_on_every_shard(count: int, depth: int, group: int) -> None:
    async with cluster(count) as found:
        client = await found.client(group=group)
        for unit in range(3):
            assert await work(client, unit, depth=depth) == 0
        assert_array_equal(found.weights(), counted(0, 1, 2))
        assert [shard.tables[0].clock for shard in found.shards] == [3 * STEPS] * count
        assert client.duplicates == 0
        await client.close()


async def in_a_row(client: StepClient, units: range, depth: int) -> list[int | None]:
    """Do units one after the other, each opened ahead; returns where each began as far as that was known ahead."""
    began: list[int | None] = []
    for unit in units:
        first = await client.opened(unit, 1)
        began.append(first)
        if first != 0:
            first = await client.open(unit, 1)
            for step in range(first, min(first + depth, STEPS)):
                await client.pull(client.ask([keys_of(unit, step)]))
        for step in range(first, STEPS):
            (rows,) = await client.rows()
            gradients = [np.full(rows.shape, -1, np.float32)]
            if step + depth < STEPS:
                await client.push_pull(step, gradients, client.ask([keys_of(unit, step + depth)]))
            else:
                await client.push(step, gradients, more=step == STEPS - 1)
        if unit + 1 in units:
            await client.open_ahead(unit + 1, 1)
            for step in range(depth):
                await client.pull(client.ask([keys_of(unit + 1, step)]))
        await client.flush()
    return began


@pytest.mark.parametrize(("depth", "group"), [(1, 1), (4, 2), (8, 4)])
@pytest.mark.parametrize("count", [1, 3])
async def test_units_that_are_opened_ahead_go_on_without_a_pause(count: int, depth: int, group: int) -> None:
    async with cluster(count) as found:
        client = await found.client(group=group)
        assert await in_a_row(client, range(4), depth) == [None, 0, 0, 0]
        assert_array_equal(found.weights(), counted(0, 1, 2, 3))
        assert [shard.counters.duplicates for shard in found.shards] == [0] * count
        await client.close()


async def test_a_unit_opened_ahead_that_was_begun_before_goes_on_where_it_stands() -> None:
    async with cluster(2) as found:
        before = await found.client()
        await work(before, 1, attempt=0, until=7)
        client = await found.client(group=2)
        assert await in_a_row(client, range(3), 4) == [None, 7, 0]
        assert_array_equal(found.weights(), counted(0, 1, 2))
        for one in (before, client):
            await one.close()


async def test_a_unit_opened_ahead_that_somebody_else_has_by_now_is_refused_and_the_one_before_is_whole() -> None:
    async with cluster(2) as found:
        other = await found.client()
        assert await work(other, 1, attempt=2) == 0
        client = await found.client(group=2)
        assert await work(client, 0, depth=4) == 0
        await client.open_ahead(1, 1)
        with pytest.raises(Refused, match="unit 1: attempt 1 is outdated"):
            await client.opened(1, 1)
        assert await client.opened(1, 1) is None
        assert await work(client, 2, depth=4) == 0
        assert_array_equal(found.weights(), counted(0, 1, 2))
        for one in (other, client):
            await one.close()


async def test_another_unit_than_the_one_opened_ahead_may_come() -> None:
    async with cluster(2) as found:
        client = await found.client(group=2)
        assert await work(client, 0) == 0
        await client.open_ahead(1, 1)
        await client.pull(client.ask([keys_of(1, 0)]))
        assert await client.opened(2, 1) is None
        assert await work(client, 2, depth=2) == 0
        assert await client.opened(1, 1) is None
        assert await work(client, 1, attempt=1) == 0
        assert_array_equal(found.weights(), counted(0, 1, 2))
        await client.close()


async def test_several_workers_at_once() -> None:
    async with cluster(3) as found:
        clients = [await found.client() for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for unit, client in enumerate(clients):
                group.create_task(work(client, unit, depth=3))
        assert_array_equal(found.weights(), counted(0, 1, 2, 3))
        for client in clients:
            await client.close()


async def test_rows_are_those_that_were_asked_for() -> None:
    async with cluster(3) as found:
        client = await found.client(("factors", "weights"))
        await client.open(0, 0)
        wanted = client.ask([np.array([1, 2, 3, 39], np.uint32), np.array([0], np.uint32)])
        await client.pull(wanted)
        first = await client.rows()
        gradients = [-np.arange(12, dtype=np.float32).reshape(4, 3), np.full((1, 1), -7, np.float32)]
        await client.push_pull(0, gradients, wanted)
        second = await client.rows()
        assert [one.shape for one in first] == [(4, 3), (1, 1)]
        assert_array_equal(second[0], np.arange(12).reshape(4, 3))
        assert_array_equal(second[1], [[7]])
        assert_array_equal(found.weights("factors")[39], [9, 10, 11])
        await client.close()


def test_asks_sort_keys_out_by_shard() -> None:
    keys = np.array([0, 1, 2, 3, 7], np.uint32)
    found = ask([keys], 3)
    assert [one[0].tolist() for one in found.local] == [[0, 1], [0, 2], [0]]
    assert found.where is not None
    assert [one[0].tolist() for one in found.where] == [[0, 3], [1, 4], [2]]
    assert ask([keys], 1).local[0][0] is keys


async def test_a_takeover_begins_at_the_smallest_step_and_shards_ahead_drop_what_they_know() -> None:
    async with cluster(3) as found:
        for shard, until in enumerate((5, 12, 0)):  # as if the worker had died while its frames were under way
            alone = dataclasses.replace(found, urls=(found.urls[shard],))
            client = await alone.client()
            await client.open(0, 1)
            for step in range(until):
                keys = keys_of(0, step)
                local = keys[keys % 3 == shard] // 3
                await client.pull(ask([local], 1))
                await client.push(step, [np.full((len(local), 1), -1, np.float32)])
            await client.flush()
            await client.close()
        successor = await found.client()
        assert await work(successor, 0, attempt=2, depth=3) == 0
        assert successor.duplicates == 12
        assert_array_equal(found.weights(), counted(0))
        assert await work(successor, 0, attempt=2) == STEPS
        await successor.close()


async def test_a_stale_attempt_is_refused_at_every_point() -> None:
    async with cluster(3) as found:
        old, new = await found.client(), await found.client()
        await work(old, 0, attempt=1, until=3)
        await old.open(0, 1)
        wanted = old.ask([keys_of(0, 3)])
        await old.pull(wanted)
        rows = await old.rows()
        assert await new.open(0, 2) == 3
        await old.push_pull(3, [np.full(rows[0].shape, -1, np.float32)], wanted)
        with pytest.raises(Refused):
            await old.rows()
        with pytest.raises(Refused):
            await old.open(0, 1)
        assert_array_equal(found.weights(), counted(0, steps=3))
        assert await work(new, 0, attempt=2, depth=2) == 3
        assert await work(old, 1, attempt=1) == 0
        assert_array_equal(found.weights(), counted(0, 1))
        await old.close()
        await new.close()


async def test_a_lost_connection_is_made_again_and_nothing_counts_twice() -> None:
    async with cluster(3) as found:
        client = await found.client()
        await client.open(0, 0)
        done = 0
        lost = 0
        while done < STEPS:
            try:
                done = await client.open(0, 0)
                for step in range(done, STEPS):
                    await client.pull(client.ask([keys_of(0, step)]))
                    (rows,) = await client.rows()
                    await client.push(step, [np.full(rows.shape, -1, np.float32)])
                    if step in (3, 4, 11) and lost < 3:
                        lost += 1
                        server = found.servers[lost % 3]
                        for socket in server._sockets:
                            assert socket._req is not None
                            assert socket._req.transport is not None
                            socket._req.transport.abort()
                await client.flush()
                done = STEPS
            except Closed:
                pass
        assert lost == 3
        assert_array_equal(found.weights(), counted(0))
        await client.close()


async def test_shards_that_stay_away_are_given_up() -> None:
    async with cluster(2) as found:
        client = await StepClient.connect(found.dial(patience=0.2), ["weights"])
        for listener in found.listeners:
            await listener.stop()
        with pytest.raises(Closed):
            await work(client, 0)
        with pytest.raises(Closed, match=r"0\.2 seconds"):
            await client.open(0, 0)
        with pytest.raises(Closed):
            await client.pull(client.ask([keys_of(0, 0)]))
        await client.close()


async def test_a_wrong_token_is_refused_at_once() -> None:
    async with cluster() as found:
        dial = found.dial()
        with pytest.raises(Refused):
            await StepClient.connect(type(dial)(dial.urls, "x", dial.session, CLOCK, dial.chance), ["weights"])


async def test_missing_tables_are_waited_for() -> None:
    async with cluster(tables=()) as found:
        connecting = asyncio.ensure_future(found.client())
        while not found.servers[0].access.refused and not connecting.done() and not found.listeners[0].connections:
            await asyncio.sleep(0)
        found.shards[0].create(WEIGHTS)
        client = await connecting
        assert await work(client, 0) == 0
        await client.close()


async def test_reading_goes_in_pieces_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cirrus.actors.steps.READ_BYTES", 64)
    async with cluster(3) as found:
        client = await found.client(("weights", "factors"))
        learner = await found.client()
        await work(learner, 0)
        before = [shard.clock for shard in found.shards]
        every = np.arange(100, dtype=np.uint32)
        weights, factors = await client.read([every, every[:40:2]])
        assert_array_equal(weights, counted(0))
        assert factors.shape == (20, 3)
        nothing = await client.read([every[:0], every[:0]])
        assert [one.shape for one in nothing] == [(0, 1), (0, 3)]
        assert [shard.clock for shard in found.shards] == before
        await learner.open(1, 0)
        await learner.pull(learner.ask([every]))
        with pytest.raises(WireError, match="in flight"):
            await learner.read([every])
        await client.connect_again()
        assert_array_equal((await client.read([every, every[:0]]))[0], counted(0))
        await client.close()
        await learner.close()


async def test_misuse_is_named() -> None:
    async with cluster() as found:
        client = await found.client()
        await client.open(0, 0)
        with pytest.raises(WireError, match="not pulled"):
            await client.push(0, [np.zeros((1, 1), np.float32)])
        with pytest.raises(WireError, match="no rows"):
            await client.rows()
        with pytest.raises(WireError, match="smaller"):
            await client.pull(client.ask([np.arange(2**22 + 1, dtype=np.uint32)]))
        await client.close()


async def test_what_was_in_flight_is_void_when_a_unit_is_opened() -> None:
    async with cluster(3) as found:
        client = await found.client(group=4)
        await client.open(0, 0)
        for step in range(6):
            await client.pull(client.ask([keys_of(0, step)]))
        assert await work(client, 1, depth=6) == 0
        assert_array_equal(found.weights(), counted(1))
        await client.close()


async def test_large_groups_are_sent_as_several_messages() -> None:
    async with cluster(tables=[TableSpec("wide", 10, 60_000, SGD(rate=1.0))]) as found:
        client = await found.client(("wide",), group=20)
        wanted = client.ask([np.arange(10, dtype=np.uint32)])
        await client.open(0, 0)
        for _ in range(20):
            await client.pull(wanted)
        for _ in range(20):
            (rows,) = await client.rows()
            assert rows.shape == (10, 60_000)
        await client.close()


async def test_a_broken_answer_closes_the_connection() -> None:
    """A server that answers nonsense, behind the same address."""

    async def nonsense(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        answers = [
            frames.encode_opened(frames.Opened(frames.Status.APPLIED, 0, -1, 0)),
            frames.encode_answer(frames.Answer(frames.Status.NONE, 0, 0, (np.zeros((1, 1), np.float32),)), [0])[:-1],
        ]
        async for _ in socket:
            await socket.send_bytes(answers.pop(0))
        return socket

    async def tables(_request: web.Request) -> web.Response:
        return web.json_response({"tables": [{"name": "weights", "number": 0, "width": 1}]})

    app = web.Application()
    app.router.add_get("/steps", nonsense)
    app.router.add_get("/tables", tables)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with cluster() as found:
        found.urls = (f"http://127.0.0.1:{runner.addresses[0][1]}",)
        client = await found.client()
        assert await client.open(0, 0) == 0
        await client.pull(client.ask([np.array([1], np.uint32)]))
        with pytest.raises(Closed):
            await client.rows()
        await client.close()
    await runner.cleanup()
