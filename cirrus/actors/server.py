"""A shard's server: step frames over WebSockets, everything else over plain requests, nothing without a token."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from aiohttp import WSCloseCode, web

from cirrus.actors.access import ANYBODY, DRIVER, WATCH, WORK, WORKER, Access, Handler, Route
from cirrus.actors.listening import watch_peer
from cirrus.actors.metrics import exposition, resident
from cirrus.actors.requests import json_body
from cirrus.actors.shard import Connection, Shard
from cirrus.actors.snapshots import Snapshots
from cirrus.actors.step_socket import StepSocket
from cirrus.actors.values_http import ValueRoutes
from cirrus.errors import Conflict, OutsideError, StoreError, WireError
from cirrus.learn.memory import give_back
from cirrus.wire.specs import spec_from_json, spec_to_json

MAX_BODY = 1024 * 1024


class Part(Protocol):
    """Something else that lives on a shard's server, such as the control actor of a run."""

    def routes(self) -> Iterable[Route]:
        """The routes that it answers, with the roles that may use them."""
        ...

    async def farewell(self, reason: str) -> None:
        """The server is about to stop: tell everybody, and return within seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a server stops, and whether it saves a snapshot first."""

    reason: str
    save: bool


class Server:
    """What answers a shard's requests: ``app`` is the aiohttp application; ``stop`` is called when it is told to end.

    ``connections`` says how many there are; whoever listens sets it.
    """

    def __init__(
        self,
        shard: Shard,
        access: Access,
        snapshots: Snapshots,
        parts: Sequence[Part] = (),
        stop: Callable[[Stop], None] = lambda _: None,
    ) -> None:
        self.shard = shard
        self.access = access
        self.snapshots = snapshots
        self.parts = tuple(parts)
        self.connections: Callable[[], int] = lambda: 0
        self._stop = stop
        self._sockets: set[web.WebSocketResponse] = set()
        self.app = self._make_app()

    async def farewell(self, stop: Stop) -> None:
        """Let the parts say farewell, then save a snapshot where that was wished for."""
        for part in self.parts:
            await part.farewell(stop.reason)
        if stop.save:
            await self.snapshots.save_last(self.shard, self.access.clock.sleep)

    def routes(self) -> list[Route]:
        """Every route of this server and who may use it."""
        own = [
            Route("GET", "/healthz", ANYBODY, self._health),
            Route("GET", "/metrics", WATCH, self._metrics),
            Route("GET", "/steps", WORKER, self._steps),
            Route("GET", "/tables", WORK, self._list_tables),
            Route("POST", "/tables", DRIVER, self._create_tables),
            Route("POST", "/tables/drop", DRIVER, self._drop_tables),
            Route("GET", "/ledger", DRIVER, self._show_ledger),
            Route("POST", "/ledger", DRIVER, self._close_units),
            Route("POST", "/snapshot", DRIVER, self._snapshot),
            Route("POST", "/stop", DRIVER, self._stop_server),
        ]
        values = ValueRoutes(self.shard, self.access.clock).routes()
        return [*own, *values, *(route for part in self.parts for route in part.routes())]

    def _make_app(self) -> web.Application:
        routes = self.routes()
        app = web.Application(middlewares=[self.access.guard(routes), _translate], client_max_size=MAX_BODY)
        for route in routes:
            app.router.add_route(route.method, route.path, route.handler)
        app.on_shutdown.append(self._close_sockets)
        return app

    async def _close_sockets(self, _app: web.Application) -> None:
        for socket in list(self._sockets):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the shard stops")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _metrics(self, _request: web.Request) -> web.Response:
        gauges = {
            "connections": self.connections(),
            "step_connections": len(self._sockets),
            "resident_bytes": await asyncio.to_thread(resident),
            "tokens_refused_total": self.access.refused,
            "values": len(self.shard.values.dump()),
        }
        return web.Response(text=exposition(self.shard, gauges))

    async def _list_tables(self, _request: web.Request) -> web.Response:
        return web.json_response({"tables": self._tables(), "resident": await asyncio.to_thread(resident)})

    async def _create_tables(self, request: web.Request) -> web.Response:
        given = await json_body(request)
        if not isinstance(given, list):
            raise WireError("a list of tables is expected")
        specs = [spec_from_json(one) for one in given]
        for spec in specs:
            self.shard.check(spec)
        for spec in specs:
            self.shard.create(spec)
        return web.json_response({"tables": self._tables()})

    async def _drop_tables(self, request: web.Request) -> web.Response:
        match await json_body(request):
            case {"tables": list(names), "line": int(line)} if all(isinstance(name, str) for name in names):
                self.shard.drop(names, line)
            case _:
                raise WireError("tables is a list of names, and line a whole number")
        give_back()  # whoever worked on them has left, too
        return web.json_response({"tables": self._tables()})

    def _tables(self) -> list[dict[str, object]]:
        tables = self.shard.tables
        return [
            {**spec_to_json(tables[number].spec), "number": number, "clock": tables[number].clock}
            for number in sorted(self.shard.numbers.values())
        ]

    async def _show_ledger(self, _request: web.Request) -> web.Response:
        return web.json_response(self._state())

    async def _close_units(self, request: web.Request) -> web.Response:
        given = await json_body(request)
        unit = given.get("close_below") if isinstance(given, dict) else None
        if type(unit) is not int or not 0 <= unit < 2**64:
            raise WireError("close_below is a unit's number")
        self.shard.close_below(unit)
        return web.json_response(self._state())

    def _state(self) -> dict[str, object]:
        ledgers = {str(line): ledger.dump() for line, ledger in self.shard.ledgers.items()}
        return {"clock": self.shard.clock, "ledgers": ledgers}

    async def _snapshot(self, _request: web.Request) -> web.Response:
        if self.snapshots.busy:
            raise Conflict("snapshot", "one is being written")
        state = self._state()
        key = await self.snapshots.save(self.shard)
        return web.json_response({"key": key, **state})

    async def _stop_server(self, request: web.Request) -> web.Response:
        given = await json_body(request)
        save = given.get("save", False) if isinstance(given, dict) else None
        if not isinstance(save, bool):
            raise WireError("save is true or false")
        self._stop(Stop("the driver asked for it", save))
        return web.json_response({"stopping": True})

    async def _steps(self, request: web.Request) -> web.WebSocketResponse:
        socket = StepSocket(partial(self.shard.handle, Connection()))
        try:
            await socket.prepare(request)
        except ConnectionError:  # it hung up in the middle of its request
            return socket
        watch_peer(socket.get_extra_info("socket"))
        self._sockets.add(socket)
        try:
            await socket.serve(request.transport)
        except (WireError, MemoryError, RecursionError):
            self.shard.counters.refused += 1
            await socket.close(code=WSCloseCode.PROTOCOL_ERROR, message=b"broken frame")
        except (OSError, TimeoutError):
            await socket.close(code=WSCloseCode.ABNORMAL_CLOSURE, drain=False)
        finally:
            self._sockets.discard(socket)
        return socket


@web.middleware
async def _translate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The errors that a request may meet as answers of HTTP; the texts are for the run's own people."""
    try:
        return await handler(request)
    except Conflict as error:
        return _problem(409, error)
    except (WireError, json.JSONDecodeError) as error:
        return _problem(400, error)
    except StoreError as error:
        return _problem(502, error)
    except (MemoryError, RecursionError):
        return _problem(413, WireError("too large"))


def _problem(status: int, error: OutsideError | json.JSONDecodeError) -> web.Response:
    return web.json_response({"error": str(error)}, status=status)
