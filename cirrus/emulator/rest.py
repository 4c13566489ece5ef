"""Lambda's REST API, as far as a program that deploys and invokes one function needs it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from cirrus.actors.kernel import Kernel
from cirrus.emulator.account import Account, Function, check_runtime, check_zip, digest
from cirrus.emulator.answers import described, event_config, settings, whole
from cirrus.emulator.functions import EventConfig, created
from cirrus.emulator.invocations import Invocations
from cirrus.emulator.refusals import Refusal, conflict, invalid, missing, too_large
from cirrus.emulator.signatures import check_signature
from cirrus.store.sigv4 import Credentials

LARGEST_BODY = 80 * 2**20
MOST_SYNC, MOST_EVENT = 6 * 2**20, 2**20
TAIL = 4096
BODY = web.RequestKey("body", bytes)

Call = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Rest:
    """The routes, over an account and what executes its invocations."""

    def __init__(self, kernel: Kernel, account: Account, invocations: Invocations, credentials: Credentials) -> None:
        self._kernel = kernel
        self._account = account
        self._invocations = invocations
        self._credentials = credentials

    def app(self) -> web.Application:
        """The application; every request must be signed."""
        app = web.Application(client_max_size=LARGEST_BODY, middlewares=[self._guard])
        functions, one = "/2015-03-31/functions", "/2015-03-31/functions/{name}"
        concurrency = "/2017-10-31/functions/{name}/concurrency"
        events = "/2019-09-25/functions/{name}/event-invoke-config"
        tags = "/2017-03-31/tags/{name}"
        app.add_routes(
            [
                web.post(functions, self._create),
                web.get(f"{functions}/", self._list),
                web.get(one, self._get),
                web.delete(one, self._delete),
                web.get(f"{one}/configuration", self._get_configuration),
                web.put(f"{one}/configuration", self._update_configuration),
                web.put(f"{one}/code", self._update_code),
                web.post(f"{one}/invocations", self._invoke),
                web.put(concurrency, self._reserve),
                web.delete(concurrency, self._release),
                web.get("/2019-09-30/functions/{name}/concurrency", self._get_concurrency),
                web.put(events, self._put_events),
                web.post(events, self._put_events),
                web.get(events, self._get_events),
                web.delete(events, self._delete_events),
                web.get(tags, self._list_tags),
                web.post(tags, self._tag),
                web.delete(tags, self._untag),
                web.get("/2016-08-19/account-settings", self._settings),
                web.get("/2016-08-19/account-settings/", self._settings),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Call) -> web.StreamResponse:
        """Check the signature, and say refusals as AWS says them."""
        try:
            body = await request.read()
            check_signature(request, body, self._credentials, self._kernel.clock.wall())
            request[BODY] = body
            return await handler(request)
        except Refusal as refusal:
            found = {"message": refusal.message, "Message": refusal.message, **refusal.more}
            headers = {"x-amzn-errortype": refusal.kind}
            return web.json_response(found, status=refusal.status, headers=headers)

    async def _create(self, request: web.Request) -> web.Response:
        body = _body(request)
        configuration = created(body.get("FunctionName"), body)
        check_runtime(configuration)
        data = _code(body.get("Code"))
        function = self._account.create(configuration)
        self._install(function, data)
        return web.json_response({**described(function), "CodeSha256": digest(data), "CodeSize": len(data)}, status=201)

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"Functions": [described(one) for one in self._account.functions.values()]})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(whole(self._function(request)))

    async def _get_configuration(self, request: web.Request) -> web.Response:
        return web.json_response(described(self._function(request)))

    async def _delete(self, request: web.Request) -> web.Response:
        function = self._function(request)
        del self._account.functions[function.configuration.name]
        function.state = "Deleting"
        await self._account.retire(function)
        return web.Response(status=204)

    async def _update_configuration(self, request: web.Request) -> web.Response:
        function = self._settled(request)
        configuration = function.configuration.changed(_body(request))
        check_runtime(configuration)
        function.configuration = configuration
        function.modified, function.revision = self._kernel.clock.wall(), function.revision + 1
        await self._account.retire(function)
        return web.json_response(described(function))

    async def _update_code(self, request: web.Request) -> web.Response:
        function, body = self._settled(request), _body(request)
        data = _code(body)
        match body:
            case {"Architectures": [one]}:
                changed = replace(function.configuration, architecture=one)
                check_runtime(changed)
            case _:
                pass
        if not body.get("DryRun"):
            function.update = "InProgress"
            self._install(function, data)
        return web.json_response({**described(function), "CodeSha256": digest(data), "CodeSize": len(data)})

    def _install(self, function: Function, data: bytes) -> None:
        self._kernel.task(self._account.install(function, data), name=f"emulator.install-{function.configuration.name}")

    async def _invoke(self, request: web.Request) -> web.Response:
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        function, payload = self._function(request), request[BODY] or b"{}"
        if len(payload) > (MOST_EVENT if kind == "Event" else MOST_SYNC):
            raise too_large(f"{len(payload)} byte payload is too large for the {kind} invocation type")
        _check_json(payload)
        if kind == "DryRun":
            return web.Response(status=204)
        if kind not in {"Event", "RequestResponse"}:
            raise invalid(f"InvocationType: {kind!r}")
        invocation = self._invocations.accept(function, payload)
        headers = {"x-amzn-RequestId": invocation.request_id, "X-Amz-Executed-Version": "$LATEST"}
        if kind == "Event":
            self._invocations.enqueue(invocation)
            return web.Response(status=202, headers=headers)
        outcome = await self._invocations.call(invocation)
        if outcome.kind != "done":
            headers["X-Amz-Function-Error"] = "Unhandled"
        if request.headers.get("X-Amz-Log-Type") == "Tail":
            headers["X-Amz-Log-Result"] = await self._kernel.blocking(self._tail, function)
        return web.Response(body=outcome.payload, headers=headers, content_type="application/json")

    def _tail(self, function: Function) -> str:
        data = self._account.log(function.configuration.name).read_bytes()[-TAIL + 200 :]
        lines = data + self._account.reports[-1].line.encode() + b"\n"
        return base64.b64encode(lines).decode()

    async def _reserve(self, request: web.Request) -> web.Response:
        match _body(request):
            case {"ReservedConcurrentExecutions": int(most)} if most >= 0:
                self._account.reserve(self._function(request), most)
            case _:
                raise invalid("ReservedConcurrentExecutions: a whole number from 0")
        return await self._get_concurrency(request)

    async def _release(self, request: web.Request) -> web.Response:
        self._function(request).reserved = None
        return web.Response(status=204)

    async def _get_concurrency(self, request: web.Request) -> web.Response:
        reserved = self._function(request).reserved
        return web.json_response({} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    async def _put_events(self, request: web.Request) -> web.Response:
        function, body = self._function(request), _body(request)
        before = function.events if request.method == "POST" and function.events else EventConfig()
        function.events = EventConfig(
            body.get("MaximumRetryAttempts", before.retries), body.get("MaximumEventAgeInSeconds", before.age)
        )
        return web.json_response(event_config(function))

    async def _get_events(self, request: web.Request) -> web.Response:
        function = self._function(request)
        if function.events is None:
            raise missing(f"The event invoke configuration of {function.arn}")
        return web.json_response(event_config(function))

    async def _delete_events(self, request: web.Request) -> web.Response:
        self._function(request).events = None
        return web.Response(status=204)

    async def _list_tags(self, request: web.Request) -> web.Response:
        return web.json_response({"Tags": dict(self._function(request).configuration.tags)})

    async def _tag(self, request: web.Request) -> web.Response:
        return self._retag(request, {**self._function(request).configuration.tags, **_body(request).get("Tags", {})})

    async def _untag(self, request: web.Request) -> web.Response:
        gone = set(request.query.getall("tagKeys", ()))
        tags = self._function(request).configuration.tags
        return self._retag(request, {name: value for name, value in tags.items() if name not in gone})

    def _retag(self, request: web.Request, tags: dict[str, str]) -> web.Response:
        function = self._function(request)
        function.configuration = replace(function.configuration, tags=tags)
        return web.Response(status=204)

    async def _settings(self, _: web.Request) -> web.Response:
        return web.json_response(settings(self._account))

    def _function(self, request: web.Request) -> Function:
        return self._account.function(request.match_info["name"])

    def _settled(self, request: web.Request) -> Function:
        """The function, unless a change of it is under way."""
        function = self._function(request)
        if function.update == "InProgress":
            raise conflict(f"The operation cannot be performed: an update is in progress for {function.arn}")
        return function


def _body(request: web.Request) -> dict[str, Any]:
    try:
        found = json.loads(request[BODY] or b"{}")
    except (ValueError, RecursionError):
        raise Refusal(400, "InvalidRequestContentException", "Could not parse request body into json") from None
    if not isinstance(found, dict):
        raise Refusal(400, "InvalidRequestContentException", "Expected an object")
    return found


def _check_json(payload: bytes) -> None:
    try:
        json.loads(payload)
    except (ValueError, RecursionError):
        raise Refusal(400, "InvalidRequestContentException", "Could not parse request body into json") from None


def _code(body: object) -> bytes:
    """The zip that a request carries."""
    match body:
        case {"ZipFile": str(text)}:
            pass
        case _:
            raise invalid("Code: this emulator takes ZipFile only")
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Refusal(400, "InvalidRequestContentException", "ZipFile is not in base 64") from None
    check_zip(data)
    return data
