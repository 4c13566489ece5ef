"""A server before the emulator that refuses some requests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.deploy.served import serving

Refusal = Callable[[web.Request], web.Response | None]
NEW_ROLE = "The role defined for the function cannot be assumed by Lambda."


@asynccontextmanager
async def front(target: str, refusal: Refusal) -> AsyncIterator[str]:
    """Its URL; what it does not refuse is passed on to ``target``."""

    async def answer(request: web.Request) -> web.Response:
        body, refused = await request.read(), refusal(request)
        if refused is not None:
            return refused
        url = f"{target}{request.rel_url}"
        async with session.request(request.method, url, data=body, headers=request.headers) as found:
            kept = {name: value for name, value in found.headers.items() if name.lower().startswith("x-amz")}
            return web.Response(body=await found.read(), status=found.status, headers=kept)

    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{rest:.*}", answer)
    async with aiohttp.ClientSession() as session, serving(app) as url:
        yield url


def refused(status: int, kind: str, message: str) -> web.Response:
    """A refusal as Lambda words it."""
    return web.json_response({"message": message}, status=status, headers={"x-amzn-errortype": kind})
