"""A server before the emulator that does not know a new role yet."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web

from tests.deploy.served import serving

MESSAGE = "The role defined for the function cannot be assumed by Lambda."


class Front:
    """Refuses so many times to create a function, and passes on everything else."""

    def __init__(self, target: str, refusals: int, session: aiohttp.ClientSession) -> None:
        self.endpoint = ""
        self.refused = 0
        self._target = target
        self._refusals = refusals
        self._session = session

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "POST" and request.path.endswith("/functions") and self.refused < self._refusals:
            self.refused += 1
            headers = {"x-amzn-errortype": "InvalidParameterValueException"}
            return web.json_response({"message": MESSAGE, "Type": "User"}, status=400, headers=headers)
        url = f"{self._target}{request.rel_url}"
        async with self._session.request(request.method, url, data=body, headers=request.headers) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower().startswith("x-amz")}
            return web.Response(body=await answer.read(), status=answer.status, headers=kept)


@asynccontextmanager
async def front(target: str, refusals: int) -> AsyncIterator[Front]:
    async with aiohttp.ClientSession() as session:
        made = Front(target, refusals, session)
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{rest:.*}", made.answer)
        async with serving(app) as made.endpoint:
            yield made
