"""A shard's server over real sockets: who may do what, and what becomes of those who break the protocol."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from cirrus.actors.access import DRIVER, WATCH, WORK, WORKER, Route, claims_of
from cirrus.actors.listening import Address
from cirrus.actors.shard import Shard
from cirrus.actors.snapshots import Shelf, resume
from cirrus.errors import PipelineError
from cirrus.learn.base import TableSpec
from cirrus.optimizers import Adagrad
from cirrus.wire import frames
from cirrus.wire.frames import Step
from cirrus.wire.specs import spec_to_json
from cirrus.wire.tokens import Role, issue
from tests.actors.shards import CLOCK, KEY, WEIGHTS, Cluster, bearer, claims, cluster, token

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
ROLES: tuple[Role, ...] = ("worker", "driver", "viewer")


@pytest.fixture
async def one() -> AsyncIterator[Cluster]:
    async with cluster() as found:
        yield found


def paths(found: Cluster) -> set[str]:
    return {route.path.replace("{name}", "x") for route in found.servers[0].routes()} | {"/", "/nowhere", "/tables/"}


async def test_without_a_token_every_route_and_method_is_refused(one: Cluster) -> None:
    for path in sorted(paths(one)):
        for method in METHODS:
            async with one.session.request(method, one.urls[0] + path, data=b"x" * 10) as answer:
                if (method, path) == ("GET", "/healthz"):
                    assert (answer.status, await answer.text()) == (200, "ok\n")
                else:
                    assert (method, path, answer.status) == (method, path, 401)
                    assert await answer.text() in ("refused", "")
    assert one.servers[0].access.refused > 50


async def test_with_a_token_each_role_has_exactly_its_routes(one: Cluster) -> None:
    for route in one.servers[0].routes():
        if route.roles is None:
            continue
        url = one.urls[0] + route.path.replace("{name}", "x")
        for role in ROLES:
            async with one.session.request(route.method, url, headers=bearer(role)) as answer:
                assert (answer.status == 403) == (role not in route.roles), (route.method, route.path, role)
                assert answer.status != 401
    allowed = {(route.method, route.path): route.roles for route in one.servers[0].routes()}
    assert allowed["GET", "/steps"] == WORKER
    assert allowed["GET", "/metrics"] == WATCH
    assert allowed["PUT", "/values/{name}"] == WORK
    for path in ("/stop", "/snapshot", "/tables", "/ledger"):
        assert allowed["POST", path] == DRIVER


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer a.b",
        lambda: f"bearer {token()}",
        lambda: f"Bearer  {token()}",
        lambda: f"Bearer {token(run='other')}",
        lambda: f"Bearer {token(epoch=1)}",
        lambda: f"Bearer {token(epoch=3)}",
        lambda: f"Bearer {token(expiry=CLOCK.wall() - 301)}",
        lambda: f"Bearer {issue(b'another key', claims('worker'))}",
        lambda: f"Bearer {token()}x",
    ],
)
async def test_forged_expired_and_foreign_tokens_are_refused_alike(one: Cluster, header: object) -> None:
    value = header() if callable(header) else str(header)
    for path in ("/tables", "/values"):
        async with one.session.get(one.urls[0] + path, headers={"Authorization": value}) as answer:
            assert (answer.status, await answer.text()) == (401, "refused")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await one.session.ws_connect(one.urls[0] + "/steps", headers={"Authorization": value})


async def test_a_token_in_the_url_is_not_a_token(one: Cluster) -> None:
    async with one.session.get(f"{one.urls[0]}/tables?token={token()}&access_token={token()}") as answer:
        assert answer.status == 401


async def test_refusal_does_not_wait_for_the_body(one: Cluster) -> None:
    host, port = one.urls[0].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /tables HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()
    await writer.wait_closed()


async def test_tables_are_created_once(one: Cluster) -> None:
    url, more = one.urls[0] + "/tables", TableSpec("more", 7, 2, Adagrad())

    async def create(*specs: TableSpec) -> tuple[int, dict[str, list[dict[str, object]]]]:
        body = [spec_to_json(spec) for spec in specs]
        async with one.session.post(url, json=body, headers=bearer("driver")) as answer:
            return answer.status, await answer.json()

    status, listed = await create(more, WEIGHTS)
    assert status == 200
    assert [(entry["name"], entry["number"]) for entry in listed["tables"]] == [
        ("weights", 0), ("factors", 1), ("more", 2),
    ]  # fmt: skip
    assert (await create(more))[0] == 200
    status, _ = await create(TableSpec("other", 7, 2, Adagrad()), TableSpec("more", 8, 2, Adagrad()))
    assert status == 409
    assert len(one.shards[0].tables) == 3


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b"[1]", b"null", b"[" * 100_000, b"\xff", b'[{"name": "x"}]'])
async def test_malformed_bodies_are_refused(one: Cluster, body: bytes) -> None:
    for path in ("/tables", "/ledger"):
        headers = bearer("driver") | {"Content-Type": "application/json"}
        async with one.session.post(one.urls[0] + path, data=body, headers=headers) as answer:
            assert answer.status == 400
    async with one.session.post(one.urls[0] + "/tables", data=body, headers=bearer("driver")) as answer:
        assert answer.status == 415


async def test_large_bodies_are_refused(one: Cluster) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(100_000)

    headers = bearer("driver") | {"Content-Type": "application/json"}
    for data in (io.BytesIO(bytes(2_000_000)), endless()):
        try:
            async with one.session.post(one.urls[0] + "/tables", data=data, headers=headers) as answer:
                assert answer.status == 413
        except aiohttp.ClientConnectionError:
            pass  # the server closed before all of it was sent
    async with one.session.put(one.urls[0] + "/values/x", data=bytes(65_537), headers=bearer("worker")) as answer:
        assert answer.status == 413


async def test_values_have_versions_conditions_and_limits(one: Cluster) -> None:
    url = one.urls[0] + "/values/"

    async def do(method: str, name: str, data: bytes = b"", **headers: str) -> tuple[int, str, bytes]:
        fields = {key.replace("_", "-"): value for key, value in headers.items()} | bearer("worker")
        async with one.session.request(method, url + name, data=data, headers=fields) as answer:
            return answer.status, answer.headers.get("ETag", ""), await answer.read()

    status, first, _ = await do("PUT", "a", b"1", If_None_Match="*")
    assert status == 204
    assert (await do("PUT", "a", b"2", If_None_Match="*"))[0] == 412
    status, second, _ = await do("PUT", "a", b"2", If_Match=first)
    assert (status, first != second) == (204, True)
    assert (await do("PUT", "a", b"3", If_Match=first))[0] == 412
    assert await do("GET", "a") == (200, second, b"2")
    assert (await do("GET", "a", If_None_Match=second))[0] == 304
    assert (await do("PUT", "a", b"3", If_Match="W/x"))[0] == 400
    assert (await do("DELETE", "a", If_Match=first))[0] == 412
    assert (await do("DELETE", "a", If_Match=second))[0] == 204
    assert (await do("DELETE", "a"))[0] == 204
    assert (await do("GET", "a"))[0] == 404
    assert (await do("PUT", "A", b"3"))[0] == 400
    assert (await do("PUT", "b?ttl=never", b"3"))[0] == 400
    assert (await do("PUT", "b?ttl=100", bytes(65_536)))[0] == 204
    async with one.session.get(one.urls[0] + "/values?prefix=b", headers=bearer("driver")) as answer:
        assert [(found["name"], found["size"]) for found in (await answer.json())["values"]] == [("b", 65_536)]
    for number in range(255):
        status, _, _ = await do("PUT", f"v{number}", bytes(65_536))
        if status == 507:
            break
    assert status == 507


async def test_metrics_are_for_prometheus(one: Cluster) -> None:
    client = await one.client()
    wanted = client.ask([np.array([1], np.uint32)])
    await client.open(0, 0)
    await client.pull(wanted)
    await client.push(0, await client.rows())
    await client.flush()
    async with one.session.get(one.urls[0] + "/metrics", headers=bearer("viewer")) as answer:
        lines = dict(line.rsplit(" ", 1) for line in (await answer.text()).splitlines() if line[0] != "#")
    assert lines['cirrus_shard_steps_applied_total{shard="0"}'] == "1"
    assert lines['cirrus_shard_step_connections{shard="0"}'] == "1"
    assert int(lines['cirrus_shard_resident_bytes{shard="0"}']) > 10_000_000
    await client.close()


async def test_a_snapshot_holds_everything_while_steps_go_on(one: Cluster) -> None:
    client = await one.client()
    wanted = client.ask([np.array([1, 5], np.uint32)])
    await client.open(7, 2)
    await client.pull(wanted)
    await client.push(0, [np.full((2, 1), -1, np.float32)])
    await client.flush()
    one.shards[0].values.put("a", b"\0value", CLOCK.wall(), expires=CLOCK.wall() + 60)
    snapshot = asyncio.ensure_future(one.session.post(one.urls[0] + "/snapshot", headers=bearer("driver")))
    step = 1
    while not snapshot.done():
        await client.pull(wanted)
        await client.push(step, [np.full((2, 1), -1, np.float32)])
        await client.flush()
        step += 1
    async with await snapshot as answer:
        said = await answer.json()
    await client.close()
    restored = Shard(0, 1)
    await resume(restored, Shelf(one.store, "shards/0"))
    clock = restored.clock
    assert 1 <= clock <= step
    assert said["clock"] == clock
    assert said["ledgers"]["0"] == restored.ledgers[0].dump() == [0, 7, 2, clock - 1]
    assert restored.tables[0].weights()[[1, 5], 0].tolist() == [clock, clock]
    assert restored.values.get("a", 0.0).data == b"\0value"
    assert restored.counters.applied == clock


@pytest.mark.parametrize("body", [[], 7, {"save": "yes"}, {"save": None}])
async def test_nobody_stops_by_mistake(one: Cluster, body: object) -> None:
    async with one.session.post(one.urls[0] + "/stop", json=body, headers=bearer("driver")) as answer:
        assert answer.status == 400
    assert not one.stops


async def test_stopping_is_asked_for_by_the_driver(one: Cluster) -> None:
    async with one.session.post(one.urls[0] + "/stop", json={"save": True}, headers=bearer("driver")) as answer:
        assert answer.status == 200
    (stop,) = one.stops
    assert stop.save
    await one.servers[0].farewell(stop)
    assert [info.key async for info in one.store.list("shards/0/")] == ["shards/0/000000000000"]


async def test_parts_bring_routes_and_say_farewell() -> None:
    class Echo:
        def __init__(self) -> None:
            self.farewells: list[str] = []

        def routes(self) -> list[Route]:
            return [Route("GET", "/control", WORK, self.answer)]

        async def answer(self, request: web.Request) -> web.Response:
            return web.json_response({"role": claims_of(request).role})

        async def farewell(self, reason: str) -> None:
            self.farewells.append(reason)

    part = Echo()
    async with cluster(parts=lambda: [part]) as found:
        url = found.urls[0] + "/control"
        for headers, status in (({}, 401), (bearer("viewer"), 403), (bearer("worker"), 200)):
            async with found.session.get(url, headers=headers) as answer:
                assert answer.status == status
        async with found.session.post(found.urls[0] + "/stop", json={}, headers=bearer("driver")):
            pass
        await found.servers[0].farewell(found.stops[0])
        assert part.farewells == ["the driver asked for it"]


async def test_connections_are_limited() -> None:
    async with cluster(most=3) as found:
        sockets = [await found.session.ws_connect(found.urls[0] + "/steps", headers=bearer("worker")) for _ in range(3)]
        with pytest.raises(aiohttp.ClientConnectionError):
            await found.session.get(found.urls[0] + "/healthz")
        await sockets.pop().close()
        while found.listeners[0].connections > 2:
            await asyncio.sleep(0)
        async with found.session.get(found.urls[0] + "/healthz") as answer:
            assert answer.status == 200


def test_beyond_loopback_it_listens_only_when_told_how() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "example.org", ""):
        with pytest.raises(PipelineError):
            Address(host)
    assert Address("0.0.0.0", exposure="insecure").port == 0
    for host in ("127.0.0.1", "::1", "localhost", "127.8.9.10"):
        assert Address(host).host == host


async def test_the_key_is_shown_nowhere(one: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = one.servers[0]
    async with one.session.get(one.urls[0] + "/metrics", headers=bearer("driver")) as answer:
        text = await answer.text()
    shown = repr(server.access) + text + caplog.text + json.dumps(server._state())
    assert KEY.decode() not in shown
    assert token("driver").split(".")[1] not in caplog.text
    assert not caplog.records or all("GET /" not in record.getMessage() for record in caplog.records)


async def test_steps_are_only_for_binary_messages(one: Cluster) -> None:
    socket = await one.session.ws_connect(one.urls[0] + "/steps", headers=bearer("worker"))
    await socket.send_str("hello")
    message = await socket.receive()
    assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1002)
    assert one.shards[0].counters.refused == 1


async def test_a_slow_reader_delays_only_itself(one: Cluster) -> None:
    one.shards[0].create(TableSpec("wide", 10, 60_000, Adagrad()))
    slow = await one.session.ws_connect(one.urls[0] + "/steps", headers=bearer("worker"))
    reading = frames.encode_read(frames.Read((2,), (np.arange(6, dtype=np.uint32),)))
    for _ in range(50):  # 72 MB of answers that nobody takes
        await slow.send_bytes(reading)
    client = await one.client()
    await client.open(0, 0)
    await client.pull(client.ask([np.array([1], np.uint32)]))
    await client.push(0, await client.rows())
    await client.flush()
    await client.close()
    assert one.shards[0].clock == 1
    assert one.shards[0].counters.frames < 50
    slow._response.close()


def test_a_step_is_small() -> None:
    """What a step of 700 keys takes on the wire."""
    step = Step(0, (0,), (np.zeros((700, 1), np.float32),), (np.arange(700, dtype=np.uint32),))
    assert len(frames.encode_step(step)) <= 2 * 4 * 700 + 48
