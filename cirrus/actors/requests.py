"""Bodies of requests: read under a deadline and a limit, after the token was checked."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from cirrus.errors import WireError

BODY_SECONDS = 10.0


async def body(request: web.Request, most: int) -> bytes:
    """The whole body; 413 where it has more than ``most`` bytes, 408 where it does not arrive in time."""
    if request.content_length is not None and request.content_length > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=request.content_length)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            data = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
    if len(data) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(data))
    return data


async def json_body(request: web.Request, most: int = 1024 * 1024) -> Any:
    """The body as JSON; ``WireError`` where it is none, or too deep."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType
    try:
        return json.loads(await body(request, most))
    except (ValueError, RecursionError) as error:
        raise WireError("the body is not JSON") from error
