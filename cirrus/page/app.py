"""``cirrus.dashboard``: the live page of a run as an application of aiohttp."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from aiohttp import web

from cirrus import checks
from cirrus.actors.kernel import Kernel
from cirrus.actors.requests import json_body
from cirrus.clock import Clock, SystemClock
from cirrus.errors import CirrusError, OutsideError, PipelineError, RunError, WireError
from cirrus.page.door import Door
from cirrus.page.feed import Feed
from cirrus.page.guard import Guard, headed
from cirrus.page.stream import Stream
from cirrus.sinks.exposition import CONTENT_TYPE, Exposition
from cirrus.watching import Watched

STATIC = Path(__file__).with_name("static")
FILES = ("app.css", "app.js", "charts.js", "format.js", "panel.js", "table.js")
PLOTLY = "plotly.min.js"
MAX_BODY = 64 * 1024
PAUSE = 0.25
"""Seconds between two messages to viewers, at least."""

TURN = 200
"""Events that are taken in at once; then the loop's other tasks get a turn."""

DOOR = web.AppKey("cirrus_door", Door)


def dashboard(run: Watched, token: str | None = None, *, hosts: Sequence[str] = ()) -> web.Application:
    """The live page of a run, to be served alone or mounted with ``add_subapp``; see ``docs/howto/dashboard.md``.

    Whoever opens it with ``#token`` behind its address may look and give orders. Without a token it opens with codes
    that ``cirrus.page.serving`` makes. ``hosts`` are names under which it may be asked for besides those of loopback.
    ``PipelineError`` where plotly is not installed, or the token has fewer than 16 characters.
    """
    checks.installed("plotly", "dashboard")
    return Page(run, Door(SystemClock(), token), SystemClock()).app(hosts)


class Page:
    """Follows a run, and answers whoever asks for its page."""

    def __init__(self, run: Watched, door: Door, clock: Clock) -> None:
        self._run = run
        self._door = door
        self._clock = clock
        self._feed = Feed(secrets.token_hex(6), run.run_id)
        self._stream = Stream(self._feed)
        self._exposition = Exposition()
        self._dirty = asyncio.Event()
        self._paths = {name: STATIC / name for name in FILES} | {PLOTLY: _plotly()}

    def app(self, hosts: Sequence[str]) -> web.Application:
        """The application, which follows the run from its start-up to its cleanup."""
        guard = Guard(self._door, hosts, (self._shell, self._static, self._enter), (self._metrics,))
        app = web.Application(middlewares=[guard.middleware], client_max_size=MAX_BODY)
        app[DOOR] = self._door
        add = app.router.add_route
        add("GET", "/", self._shell)
        for name in self._paths:
            add("GET", f"/static/{name}", self._static)
        add("POST", "/session", self._enter)
        add("GET", "/session", self._session)
        add("POST", "/code", self._code)
        add("GET", "/events", self._stream.answer)
        add("GET", "/metrics", self._metrics)
        add("POST", "/kill", self._kill)
        add("POST", "/scale", self._scale)
        app.on_response_prepare.append(headed)
        app.on_shutdown.append(self._farewell)
        app.cleanup_ctx.append(self._following)
        return app

    async def _following(self, _app: web.Application) -> AsyncIterator[None]:
        async with Kernel(self._clock) as kernel:
            kernel.task(self._follow(), name="page: events")
            kernel.task(self._publish(), name="page: messages")
            yield

    async def _follow(self) -> None:
        try:
            count = 0
            async for event in self._run.events():
                self._feed.take(event)
                self._exposition.take(event)
                self._dirty.set()
                count += 1
                if count % TURN == 0:
                    await self._clock.sleep(0)
            self._feed.sight.lost("nobody drives it any more")
        except (CirrusError, OSError) as error:
            self._feed.sight.lost(str(error))
        self._dirty.set()

    async def _publish(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if self._feed.publish():
                self._stream.tell()
            await self._clock.sleep(PAUSE)

    async def _farewell(self, _app: web.Application) -> None:
        self._feed.publish()
        self._stream.close()

    async def _shell(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        path = self._paths[request.path.rpartition("/")[2]]
        return web.FileResponse(path, headers={"Cache-Control": "no-cache"})

    async def _enter(self, request: web.Request) -> web.Response:
        if self._door.waits:
            raise web.HTTPTooManyRequests(text="too many tries", headers={"Retry-After": "10"})
        match await _json(request):
            case {"code": str(code)}:
                entered = self._door.enter(code)
            case _:
                entered = None
        if entered is None:
            raise web.HTTPUnauthorized(text="refused")
        cookie, csrf = entered
        answer = web.json_response({"csrf": csrf, "run": self._run.run_id})
        path = request.path.removesuffix("session")
        answer.set_cookie(
            self._door.cookie, cookie, path=path, httponly=True, samesite="Strict", secure=request.secure
        )
        return answer

    async def _session(self, request: web.Request) -> web.Response:
        csrf = self._door.session(request.cookies[self._door.cookie])
        return web.json_response({"csrf": csrf, "run": self._run.run_id})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._exposition.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _code(self, _request: web.Request) -> web.Response:
        return web.json_response({"code": self._door.code()})

    async def _kill(self, request: web.Request) -> web.Response:
        match await _json(request):
            case {"trial": int(trial), **more} if not isinstance(trial, bool) and not more:
                return await self._end(None, trial)
            case {"stage": str(stage), **more} if not more:
                return await self._end(stage, None)
            case dict() as nothing if not nothing:
                return await self._end(None, None)
            case _:
                return _problem(400, WireError("a trial's number, a stage's name, or nothing"))

    async def _end(self, stage: str | None, trial: int | None) -> web.Response:
        self._feed.sight.ordered(trial)
        self._dirty.set()
        try:
            await self._run.kill(stage=stage, trial=trial, reason="from the page")
        except CirrusError as error:
            self._feed.sight.refused(trial)
            self._dirty.set()
            return _refusal(error)
        return web.json_response({"killed": True})

    async def _scale(self, request: web.Request) -> web.Response:
        match await _json(request):
            case {"stage": str(stage), "workers": int(workers)} if 0 <= workers <= 10_000 and workers is not True:
                try:
                    await self._run.scale(stage, workers)
                except CirrusError as error:
                    return _refusal(error)
                return web.json_response({"stage": stage, "workers": workers})
            case _:
                return _problem(400, WireError("a stage's name, and workers from 0 to 10000"))


async def _json(request: web.Request) -> Any:
    """A request's document; 400 where it is none."""
    try:
        return await json_body(request)
    except (WireError, ValueError, RecursionError):
        raise web.HTTPBadRequest(text="refused") from None


def _refusal(error: CirrusError) -> web.Response:
    match error:
        case PipelineError():
            return _problem(422, error)
        case RunError():
            return _problem(409, error)
        case _:
            return _problem(502, error)


def _problem(status: int, error: CirrusError) -> web.Response:
    document = {"error": type(error).__name__, "message": str(error)}
    return web.json_response(document, status=status)


def _plotly() -> Path:
    """Plotly's script, from the package, which is not imported for it."""
    spec = find_spec("plotly")
    if spec is None or spec.origin is None:
        raise OutsideError("plotly is not installed")
    return Path(spec.origin).with_name("package_data") / PLOTLY
