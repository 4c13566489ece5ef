"""What a request has to look like before a page answers: host, session, and for orders origin, header and content."""

from __future__ import annotations

from collections.abc import Collection
from hmac import compare_digest
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

from cirrus import checks
from cirrus.actors.access import Handler
from cirrus.page.door import Door

CSRF = "X-Cirrus-CSRF"

EMPTY = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
"""A style element without text: Plotly makes one and fills it by script, which a policy never forbids."""

HEADERS = {
    "Content-Security-Policy": "; ".join(
        [
            "default-src 'none'", "script-src 'self'", f"style-src 'self' {EMPTY}", "connect-src 'self'",
            "img-src 'self' data:", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
        ]
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}  # fmt: skip


async def headed(_request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer its headers."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)


def host_of(netloc: str) -> str | None:
    """The name or address in ``host:port``, lower-case, without brackets; ``None`` where it is none."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    return None if parts.username is not None or parts.path or parts.query else parts.hostname


class Guard:
    """Refuses what does not come from the page itself; ``open_to_all`` are handlers that hold no data.

    ``by_token`` are those that answer to ``Authorization: Bearer`` with the page's token as well.
    """

    def __init__(
        self, door: Door, hosts: Collection[str], open_to_all: Collection[Handler], by_token: Collection[Handler] = ()
    ) -> None:
        self._door = door
        self._hosts = frozenset(host.lower() for host in hosts)
        self._open = tuple(open_to_all)
        self._by_token = tuple(by_token)

    @property
    def middleware(self) -> Middleware:
        """For the page's application."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._check_host(request)
            csrf = self._door.session(request.cookies.get(self._door.cookie, ""))
            is_open = request.match_info.handler in self._open
            if csrf is None and not is_open and not self._bears_token(request):
                raise web.HTTPUnauthorized(text="refused")
            if request.method not in {"GET", "HEAD"}:
                self._check_order(request, None if is_open else csrf)
            return await handler(request)

        return check

    def _bears_token(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return request.match_info.handler in self._by_token and kind == "Bearer" and self._door.knows(token)

    def _check_host(self, request: web.Request) -> None:
        host = host_of(request.headers.get("Host", ""))
        if host is None or not (checks.is_loopback(host) or host in self._hosts):
            raise web.HTTPForbidden(text="refused")

    def _check_order(self, request: web.Request, csrf: str | None) -> None:
        """An order comes from a script of the page; ``csrf`` is what its header has to carry, if there is a session."""
        scheme, _, origin = request.headers.get("Origin", "").partition("://")
        given = request.headers.get(CSRF, "")
        if scheme not in {"http", "https"} or origin.lower() != request.headers["Host"].lower():
            raise web.HTTPForbidden(text="refused")
        if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
            raise web.HTTPForbidden(text="refused")
        if not given or (csrf is not None and not compare_digest(given.encode(), csrf.encode())):
            raise web.HTTPForbidden(text="refused")
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType(text="refused")
