"""Between an S3 client and its server: answers that are refused, swallowed, cut off or never come, as a test has it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO

from aiohttp import ClientSession, web
from yarl import URL

ERROR = "<?xml version='1.0'?><Error><Code>{}</Code><Message>so the test has it</Message></Error>"


@dataclass(frozen=True)
class Refuse:
    """Answer like that; the server does not hear of it."""

    status: int
    code: str


@dataclass(frozen=True)
class Swallow:
    """Let the server do it, and answer like that all the same."""

    status: int
    code: str


@dataclass(frozen=True)
class Drop:
    """Close the connection; the server does not hear of it."""


@dataclass(frozen=True)
class Cut:
    """Let the server do it, and close the connection before the answer."""


@dataclass(frozen=True)
class Short:
    """Let the server do it, and close the connection within the answer's body."""


Trouble = Refuse | Swallow | Drop | Cut | Short


class TroubledS3:
    """``plan`` has the troubles to come, each with the method and a part of the target of the request that it meets.

    ``always`` meets every request. ``seen`` has methods and targets of all requests, ``headers`` those of the last one.
    """

    def __init__(self, target: str, session: ClientSession) -> None:
        self.plan: deque[tuple[str, str, Trouble]] = deque()
        self.always: Trouble | None = None
        self.seen: list[tuple[str, str]] = []
        self.headers: Mapping[str, str] = {}
        self.endpoint = ""
        self._target = target
        self._session = session

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.raw_path))
        self.headers = request.headers
        trouble = self._next(request)
        body = await request.read()
        match trouble:
            case Refuse(status, code):
                return self._error(status, code)
            case Drop():
                return self._closed(request)
            case _:
                pass
        headers = {name: value for name, value in request.headers.items() if name not in {"Expect", "Connection"}}
        url = URL(self._target + request.raw_path, encoded=True)
        sent = BytesIO(body) if body else None
        async with self._session.request(request.method, url, headers=headers, data=sent) as answer:
            data = await answer.read()
            kept = {k: v for k, v in answer.headers.items() if k not in {"Transfer-Encoding", "Connection", "Server"}}
            status = answer.status
        match trouble:
            case Swallow(other, code):
                return self._error(other, code)
            case Cut():
                return self._closed(request)
            case Short():
                response = web.StreamResponse(status=status, headers=kept)
                await response.prepare(request)
                await response.write(data[: len(data) // 2])
                return self._closed(request)
            case _:
                return web.Response(status=status, headers=kept, body=data)

    def _next(self, request: web.Request) -> Trouble | None:
        for one in self.plan:
            method, part, trouble = one
            if method == request.method and part in request.raw_path:
                self.plan.remove(one)
                return trouble
        return self.always

    @staticmethod
    def _error(status: int, code: str) -> web.Response:
        return web.Response(status=status, text=ERROR.format(code), content_type="application/xml")

    @staticmethod
    def _closed(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


@asynccontextmanager
async def troubled(target: str) -> AsyncIterator[TroubledS3]:
    async with ClientSession(auto_decompress=False, skip_auto_headers={"Content-Type"}) as session:
        between = TroubledS3(target, session)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", between.handle)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            between.endpoint = f"http://{host}:{port}"
            yield between
        finally:
            await runner.cleanup()
