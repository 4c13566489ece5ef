"""Every route with every method, by those who may not: refused; and what those who may get."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product

import aiohttp
import pytest
from aiohttp import web

import cirrus
from cirrus.errors import Closed, OutsideError, PipelineError
from cirrus.page.app import FILES, PLOTLY
from cirrus.page.door import TRIES
from cirrus.page.serving import Served, served
from tests.page.scripted import Scripted, loss
from tests.page.viewer import messages

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"]
PATHS = ["", "session", "code", "events", "kill", "scale", "metrics", "static/", "static/app.py", "static/..%2fapp.py",
    "static/%2e%2e/app.py", "%2e%2e/%2e%2e/etc/passwd", "nowhere", "static", "session/", "kill/1"]  # fmt: skip
SHELL = {("GET", ""), *(("GET", f"static/{name}") for name in (*FILES, PLOTLY))}
CANARY = "canary-in-a-coal-mine"


@dataclass
class Client:
    """A browser with or without a session."""

    http: aiohttp.ClientSession
    page: Served
    csrf: str = ""

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = None if body is None else json.dumps(body)
        async with self.http.request(method, self.page.url + path, data=data, headers=given) as answer:
            return answer.status, "" if answer.content_type == "text/event-stream" else await answer.text()

    @property
    def proper(self) -> dict[str, str]:
        """What the page's own orders carry."""
        origin = self.page.url.rstrip("/")
        return {"Origin": origin, "X_Cirrus_CSRF": self.csrf or "login", "Content_Type": "application/json"}

    async def order(self, path: str, body: object, **changes: str | None) -> tuple[int, str]:
        headers = {**self.proper, **changes}
        return await self.ask("POST", path, body, **{name: value for name, value in headers.items() if value})

    async def enter(self) -> None:
        status, text = await self.order("session", {"code": self.page.address().rpartition("#")[2]})
        assert status == 200
        self.csrf = json.loads(text)["csrf"]


@asynccontextmanager
async def visited(run: Scripted, cookies: aiohttp.CookieJar | None = None) -> AsyncIterator[Client]:
    async with served(run) as page:
        jar = aiohttp.CookieJar(unsafe=True) if cookies is None else cookies
        async with aiohttp.ClientSession(cookie_jar=jar) as http:
            yield Client(http, page)


async def test_every_route_with_every_method_is_refused_without_a_session() -> None:
    async with visited(Scripted()) as client:
        for method, path in product(METHODS, PATHS):
            if (method, path) in SHELL or (method, path) == ("POST", "session"):
                continue
            for headers in ({}, client.proper):
                status, text = await client.ask(method, path, **headers)
                assert status in {400, 401, 405}, (method, path)
                assert status != 405 or method == "CONNECT"
                assert "scripted" not in text
        assert (await client.order("session", {"code": "guess"}))[0] == 401


async def test_what_is_open_to_all_knows_nothing_of_the_run() -> None:
    run = Scripted()
    async with visited(run) as client:
        for method, path in SHELL:
            status, text = await client.ask(method, path)
            assert status == 200
            assert run.run_id not in text
        shell = (await client.ask("GET", ""))[1]
        assert "//" not in shell.replace("<!--", ""), "nothing comes from elsewhere"


async def test_every_answer_has_its_headers() -> None:
    async with visited(Scripted()) as client:
        for path in ("", "static/app.js", "session", "nowhere", "events"):
            async with client.http.get(client.page.url + path) as answer:
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "frame-ancestors 'none'" in policy
                assert "unsafe" not in policy
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["Referrer-Policy"] == "no-referrer"
                assert answer.headers["Cache-Control"] == ("no-cache" if path.startswith("static") else "no-store")
                assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["kill", "scale", "code", "session"])
async def test_orders_of_others_are_refused(path: str) -> None:
    run = Scripted()
    async with visited(run) as client:
        await client.enter()
        bodies = {"kill": {}, "scale": {"stage": "train", "workers": 1}, "code": {}, "session": {"code": "x"}}
        wrong: list[Mapping[str, str | None]] = [
            {"Origin": None}, {"Origin": "null"}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"},
            {"Origin": client.page.url.rstrip("/") + ".evil.example"}, {"Host": "evil.example"},
            {"Host": "127.0.0.1.evil.example"},
            {"X_Cirrus_CSRF": None}, {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"},
            {"Content_Type": "text/plain"}, {"Content_Type": "application/x-www-form-urlencoded"},
        ]  # fmt: skip
        if path != "session":
            wrong.append({"X_Cirrus_CSRF": "guess"})
        for changes in wrong:
            status, text = await client.order(path, bodies[path], **changes)
            assert (status, text) in {(403, "refused"), (415, "refused")}, changes
        assert run.orders == []


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1@evil.example", "[::1", "10.0.0.1"])
async def test_a_page_is_asked_for_by_its_own_name(host: str) -> None:
    async with visited(Scripted()) as client:
        await client.enter()
        for path in ("", "session", "events", "static/app.js"):
            assert (await client.ask("GET", path, Host=host))[0] in {400, 403}
        assert (await client.ask("GET", "session", Host="localhost:1"))[0] == 200


async def test_a_session_gives_orders_and_is_told_why_not() -> None:
    run = Scripted()
    async with visited(run) as client:
        await client.enter()
        assert (await client.order("scale", {"stage": "train", "workers": 3}))[0] == 200
        assert (await client.order("kill", {"trial": 3}))[0] == 200
        assert (await client.order("kill", {"stage": "tune"}))[0] == 200
        assert (await client.order("kill", {}))[0] == 200
        assert run.orders == [("scale", "train", 3), ("kill", None, 3), ("kill", "tune", None), ("kill", None, None)]
        status, text = await client.order("scale", {"stage": "nowhere", "workers": 3})
        assert (status, json.loads(text)["error"]) == (422, "PipelineError")
        for error, wanted in ((Closed("it has stopped"), 409), (OutsideError("no store"), 502)):
            run.refusal = error
            status, text = await client.order("kill", {"trial": 1})
            assert (status, json.loads(text)) == (wanted, {"error": type(error).__name__, "message": str(error)})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("kill", []), ("kill", {"trial": True}), ("kill", {"trial": "1"}), ("kill", {"trial": 1, "stage": "tune"}),
        ("kill", {"all": 1}), ("kill", {"stage": 1}), ("scale", {"stage": "train", "workers": -1}), ("scale", {}),
        ("scale", {"stage": "train", "workers": True}), ("scale", {"stage": "train", "workers": 10_001}),
        ("scale", {"stage": "train", "workers": 1.5}), ("kill", "x" * 70_000),
    ],
)  # fmt: skip
async def test_orders_that_are_none_do_nothing(path: str, body: object) -> None:
    run = Scripted()
    async with visited(run) as client:
        await client.enter()
        assert (await client.order(path, body))[0] in {400, 413}
        assert run.orders == []


async def test_broken_bodies_are_refused() -> None:
    async with visited(Scripted()) as client:
        await client.enter()
        headers = {name.replace("_", "-"): value for name, value in client.proper.items()}
        for path, body in product(("kill", "scale", "session"), (b"", b"{", b"\xff", b"[" * 50_000)):
            async with client.http.post(client.page.url + path, data=body, headers=headers) as answer:
                assert answer.status == 400


async def test_after_some_guesses_the_door_waits() -> None:
    async with visited(Scripted()) as client:
        statuses = [(await client.order("session", {"code": f"guess {n}"}))[0] for n in range(TRIES + 2)]
        assert statuses[:TRIES] == [401] * TRIES
        assert statuses[-1] == 429
        assert (await client.order("session", {"code": client.page.address().rpartition("#")[2]}))[0] == 429


async def test_a_cookie_is_for_this_page_and_its_scripts_never_see_it() -> None:
    async with visited(Scripted()) as client:
        code = client.page.address().rpartition("#")[2]
        headers = {name.replace("_", "-"): value for name, value in client.proper.items()}
        async with client.http.post(client.page.url + "session", json={"code": code}, headers=headers) as answer:
            cookie = answer.headers["Set-Cookie"]
            assert {"HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
            assert code not in cookie


async def test_a_viewer_lets_another_in() -> None:
    async with visited(Scripted()) as client:
        await client.enter()
        _, text = await client.order("code", {})
        client.http.cookie_jar.clear()
        client.csrf = ""
        assert (await client.order("session", {"code": json.loads(text)["code"]}))[0] == 200
        assert (await client.order("session", {"code": json.loads(text)["code"]}))[0] == 401


async def test_it_is_mounted_in_a_service_under_a_name_of_its_own() -> None:
    run = Scripted()
    service = web.Application()
    service.add_subapp("/cirrus", cirrus.dashboard(run, CANARY, hosts=["ml.example"]))
    runner = web.AppRunner(service)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    run.say(loss(1.0, 0.5, None, "train"))
    name = f"ml.example:{runner.addresses[0][1]}"
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/cirrus/"
    headers = {"Host": name, "Origin": f"https://{name}", "X-Cirrus-CSRF": "login", "Content-Type": "application/json"}
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            async with http.get(url, headers={"Host": name}) as answer:
                assert answer.status == 200
            async with http.get(url + "events", headers={"Host": name}) as answer:
                assert answer.status == 401
            async with http.post(url + "session", json={"code": CANARY}, headers=headers) as answer:
                assert answer.status == 200
                assert "Path=/cirrus/" in answer.headers["Set-Cookie"]
                cookie = answer.headers["Set-Cookie"].partition(";")[0]
            stream = await http.get(url + "events", headers={"Host": name, "Cookie": cookie})
            read = b""
            while not list(messages(read)):
                read += await stream.content.readany()
            assert b"loss/train" in read
            stream.close()
    finally:
        await runner.cleanup()


async def test_a_token_is_in_no_log_and_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with visited(Scripted()) as client:
        code = client.page.address().rpartition("#")[2]
        answers = [await client.order("session", {"code": code + "?"}), await client.order("session", {"code": code})]
        answers += [await client.order("session", {"code": code}), await client.ask("GET", "session")]
        for _, text in answers:
            assert code not in text
        assert code not in repr(vars(client.page.door))
    assert code not in caplog.text


def test_a_token_that_is_short_is_refused() -> None:
    with pytest.raises(PipelineError, match="token"):
        cirrus.dashboard(Scripted(), "short")


async def test_prometheus_reads_with_the_token_or_a_session_and_nothing_else_with_the_token() -> None:
    run, token = Scripted(), "a-token-that-is-long-enough"
    run.say(loss(0, 0.5))
    runner = web.AppRunner(cirrus.dashboard(run, token=token))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with aiohttp.ClientSession() as http:
            for given, path, status in (
                (f"Bearer {token}", "/metrics", 200),
                (f"Bearer {token}", "/session", 401),
                (f"Bearer {token}", "/events", 401),
                (f"Basic {token}", "/metrics", 401),
                ("Bearer guess", "/metrics", 401),
            ):
                async with http.get(url + path, headers={"Authorization": given}) as answer:
                    assert answer.status == status, (given, path)
                    assert ("cirrus_" in await answer.text()) == (status == 200)
    finally:
        await runner.cleanup()
    async with visited(run) as client:
        await client.enter()
        status, text = await client.ask("GET", "metrics")
        assert status == 200
        assert "loss" in text
