"""The Runtime API of one sandbox: the four routes by which AWS's runtime client takes invocations and answers them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiohttp import web

from cirrus.actors.listening import Address, Listener

PREFIX = "/2018-06-01/runtime"
MOST_ANSWER = 6 * 2**20
"""Bytes that an invocation may answer with."""

TOO_LARGE = b'{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded."}'


@dataclass(frozen=True, slots=True)
class Work:
    """What a sandbox is given; ``deadline`` is Unix time in milliseconds."""

    request_id: str
    arn: str
    payload: bytes
    deadline: int


@dataclass(frozen=True, slots=True)
class Said:
    """What came back: an answer, or an error of that type."""

    payload: bytes
    error: str | None = None


class RuntimeApi:
    """Listens at a port of its own, for one sandbox that does one thing at a time.

    ``ready`` is done when the sandbox asks for its first invocation, ``failed`` when it says that it never will.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.failed: asyncio.Future[Said] = loop.create_future()
        self._work: asyncio.Future[Work | None] = loop.create_future()
        self._asked: tuple[str, asyncio.Future[Said]] | None = None
        app = web.Application(client_max_size=4 * MOST_ANSWER)
        app.add_routes(
            [
                web.get(f"{PREFIX}/invocation/next", self._next),
                web.post(f"{PREFIX}/invocation/{{id}}/response", self._response),
                web.post(f"{PREFIX}/invocation/{{id}}/error", self._error),
                web.post(f"{PREFIX}/init/error", self._init_error),
            ]
        )
        self._listener = Listener(app, Address())

    async def open(self) -> str:
        """Listen, and return host and port."""
        return f"127.0.0.1:{await self._listener.start()}"

    async def close(self) -> None:
        """Listen no more; whoever waits for work gets none."""
        if not self._work.done():
            self._work.set_result(None)
        await self._listener.stop()

    def offer(self, work: Work) -> asyncio.Future[Said]:
        """Give the sandbox its next invocation; what it says of it comes later."""
        said: asyncio.Future[Said] = asyncio.get_running_loop().create_future()
        self._asked = work.request_id, said
        self._work.set_result(work)
        return said

    async def _next(self, _: web.Request) -> web.Response:
        if not self.ready.done():
            self.ready.set_result(None)
        work = await asyncio.shield(self._work)
        if work is None:
            raise web.HTTPGone
        self._work = asyncio.get_running_loop().create_future()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": work.request_id,
            "Lambda-Runtime-Deadline-Ms": str(work.deadline),
            "Lambda-Runtime-Invoked-Function-Arn": work.arn,
            "Content-Type": "application/json",
        }
        return web.Response(body=work.payload, headers=headers)

    async def _response(self, request: web.Request) -> web.Response:
        payload = await request.read()
        if len(payload) > MOST_ANSWER:
            self._hear(request, Said(TOO_LARGE, "Function.ResponseSizeTooLarge"))
            raise web.HTTPRequestEntityTooLarge(MOST_ANSWER, len(payload))
        return self._hear(request, Said(payload))

    async def _error(self, request: web.Request) -> web.Response:
        return self._hear(request, await _failure(request))

    async def _init_error(self, request: web.Request) -> web.Response:
        if not self.failed.done():
            self.failed.set_result(await _failure(request))
        return web.json_response({"status": "OK"}, status=202)

    def _hear(self, request: web.Request, said: Said) -> web.Response:
        if self._asked is None or self._asked[0] != request.match_info["id"]:
            raise web.HTTPBadRequest(text='{"errorType":"InvalidRequestID"}', content_type="application/json")
        waiting, self._asked = self._asked[1], None
        if not waiting.done():
            waiting.set_result(said)
        return web.json_response({"status": "OK"}, status=202)


async def _failure(request: web.Request) -> Said:
    kind = request.headers.get("Lambda-Runtime-Function-Error-Type", "Unhandled")
    return Said(await request.read(), kind)
