"""The one page that Prometheus reads."""

from __future__ import annotations

from aiohttp import web

from cirrus import checks
from cirrus.sinks.exposition import CONTENT_TYPE, Exposition
from cirrus.sinks.prometheus import Exposure


def metrics_page(exposition: Exposition, host: str, exposure: Exposure) -> web.Application:
    """Answers ``GET /metrics``, and on loopback only those who ask for this machine by name or address.

    A page of the web whose name is made to lead here (DNS rebinding) comes with its own name as ``Host``.
    """

    async def metrics(request: web.Request) -> web.Response:
        asked = (request.url.host or "").strip("[]")
        if exposure == "loopback" and asked != host and not checks.is_loopback(asked):
            raise web.HTTPForbidden
        headers = {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return web.Response(body=exposition.text().encode(), headers=headers)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app
