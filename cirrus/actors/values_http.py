"""The run's small values over HTTP, with versions as ETags."""

from __future__ import annotations

import math

from aiohttp import web

from cirrus.actors.access import WORK, Route
from cirrus.actors.requests import body
from cirrus.actors.shard import Shard
from cirrus.actors.values import ABSENT, MAX_VALUE, TooLarge
from cirrus.clock import Clock
from cirrus.errors import Conflict, NotFound, StoreError, WireError


class ValueRoutes:
    """``/values``: list by ``prefix``. ``/values/{name}``: GET, PUT (with ``ttl`` in seconds, if any) and DELETE.

    ``If-Match`` with an ETag writes or deletes only that version, ``If-None-Match: *`` only where there is none; 412
    otherwise.
    """

    def __init__(self, shard: Shard, clock: Clock) -> None:
        self._shard = shard
        self._clock = clock

    def routes(self) -> list[Route]:
        """The routes and who may use them."""
        return [
            Route("GET", "/values", WORK, self._list),
            Route("GET", "/values/{name}", WORK, self._get),
            Route("PUT", "/values/{name}", WORK, self._put),
            Route("DELETE", "/values/{name}", WORK, self._delete),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        found = self._shard.values.names(request.query.get("prefix", ""), self._clock.wall())
        return web.json_response(
            {"values": [{"name": one.name, "etag": _tag(one.version), "size": len(one.data)} for one in found]}
        )

    async def _get(self, request: web.Request) -> web.Response:
        try:
            found = self._shard.values.get(request.match_info["name"], self._clock.wall())
        except NotFound:
            raise web.HTTPNotFound(text="no such value") from None
        headers = {"ETag": _tag(found.version)}
        if request.headers.get("If-None-Match") == _tag(found.version):
            return web.Response(status=304, headers=headers)
        return web.Response(body=found.data, content_type="application/octet-stream", headers=headers)

    async def _put(self, request: web.Request) -> web.Response:
        name, expected, seconds = request.match_info["name"], _expected(request), _seconds(request)
        data = await body(request, MAX_VALUE)
        at = self._clock.wall()
        expires = None if seconds is None else at + seconds
        try:
            version = self._shard.values.put(name, data, at, expected=expected, expires=expires)
        except Conflict as error:
            raise web.HTTPPreconditionFailed(text=error.problem) from None
        except TooLarge as error:
            raise web.HTTPInsufficientStorage(text=error.problem) from None
        except StoreError as error:
            raise web.HTTPBadRequest(text=error.problem) from None
        return web.Response(status=204, headers={"ETag": _tag(version)})

    async def _delete(self, request: web.Request) -> web.Response:
        try:
            self._shard.values.delete(request.match_info["name"], self._clock.wall(), expected=_expected(request))
        except Conflict as error:
            raise web.HTTPPreconditionFailed(text=error.problem) from None
        return web.Response(status=204)


def _tag(version: int) -> str:
    return f'"{version}"'


def _expected(request: web.Request) -> int | None:
    """The version that the request's conditions ask for."""
    match, none = request.headers.get("If-Match"), request.headers.get("If-None-Match")
    if match is None and none is None:
        return None
    if match is None and none == "*":
        return ABSENT
    text = "" if match is None or none is not None else match.strip('"')
    if not text.isascii() or not text.isdecimal() or len(text) > 18 or match != _tag(int(text)):
        raise WireError("If-Match takes one ETag, If-None-Match takes *")
    return int(text)


def _seconds(request: web.Request) -> float | None:
    text = request.query.get("ttl")
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e9:
        raise WireError("ttl is a number of seconds above 0")
    return seconds
