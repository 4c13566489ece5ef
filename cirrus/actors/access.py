"""Who may do what on a shard's server: a token is checked before anything else of a request is looked at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Middleware

from cirrus.clock import Clock
from cirrus.errors import Refused
from cirrus.wire.tokens import Claims, Role, verify

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

WORKER: frozenset[Role] = frozenset({"worker"})
DRIVER: frozenset[Role] = frozenset({"driver"})
WATCH: frozenset[Role] = frozenset({"driver", "viewer"})
WORK: frozenset[Role] = frozenset({"worker", "driver"})
ANYBODY: frozenset[Role] | None = None

CLAIMS = web.RequestKey("claims", Claims)


@dataclass(frozen=True, slots=True)
class Route:
    """A method and path, who may use it (``ANYBODY``: no token is asked for), and what answers."""

    method: str
    path: str
    roles: frozenset[Role] | None
    handler: Handler


@dataclass(slots=True)
class Access:
    """The run that this server belongs to, and the key that its tokens are signed with; ``refused`` counts."""

    key: bytes = field(repr=False)
    run_id: str
    epoch: int
    clock: Clock
    refused: int = 0

    def authorize(self, request: web.Request, roles: frozenset[Role]) -> Claims:
        """The claims of the request's token: 401 where it is none of this run and epoch, 403 for another role."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        try:
            claims = verify(self.key, token if scheme == "Bearer" else "", self.clock.wall())
        except Refused:
            raise self._refusal(web.HTTPUnauthorized) from None
        if not self.covers(claims):
            raise self._refusal(web.HTTPUnauthorized)
        if claims.role not in roles:
            raise self._refusal(web.HTTPForbidden)
        return claims

    def covers(self, claims: Claims) -> bool:
        """Whether the claims are about what this server is there for."""
        return (claims.run, claims.epoch) == (self.run_id, self.epoch)

    def _refusal(self, kind: type[web.HTTPClientError]) -> web.HTTPClientError:
        self.refused += 1
        return kind(text="refused")

    def guard(self, routes: Iterable[Route]) -> Middleware:
        """A middleware that lets a request through to ``routes`` only with a token of a role that the route allows.

        Unknown paths and methods look like known ones to who has no token.
        """
        allowed = {(one.method, one.path): one.roles for one in routes}
        every: frozenset[Role] = frozenset({"worker", "driver", "viewer"})

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            resource = request.match_info.route.resource
            path = "" if resource is None else resource.canonical
            roles = allowed.get((request.method, path), every)
            if roles is not None:
                request[CLAIMS] = self.authorize(request, roles)
            return await handler(request)

        return check


def claims_of(request: web.Request) -> Claims:
    """The claims of a request that was let through."""
    return request[CLAIMS]
