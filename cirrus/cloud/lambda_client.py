"""Requests to the Lambda service about one function, each sent once.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast, get_args

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Unreached
from cirrus.cloud.lambda_faults import FOREIGN, invoke_error, is_denied, never_arrived
from cirrus.cloud.prices import Architecture
from cirrus.errors import InvokeError
from cirrus.store.s3_client import new_session
from cirrus.store.sigv4 import Credentials

CONNECTIONS = 64
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
PIECE = 65_536  # bytes


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is deployed; memory in MB, timeout in seconds, ``settings``: its environment variables."""

    memory: int
    timeout: float
    architecture: Architecture
    runtime: str
    state: str
    code: str
    settings: dict[str, str]


def session() -> AioSession:
    """A session that has read what it needs to know of Lambda."""
    return new_session("lambda")


def in_pieces(request: Any, **_: object) -> None:
    """Have a large body, such as a function's code, sent piece by piece, so that the loop goes on turning meanwhile."""
    if isinstance(request.body, bytes) and len(request.body) > PIECE:
        request.body = io.BytesIO(request.body)


async def found_credentials(made: AioSession) -> Credentials | None:
    """Those that AWS's own tools would take, as they are now; ``None`` where they would find none."""
    found = await made.get_credentials()
    if found is None:
        return None
    frozen = await found.get_frozen_credentials()
    return Credentials(frozen.access_key, frozen.secret_key, frozen.token)


class LambdaClient:
    """Made by ``open``, to be closed. Errors are ``InvokeError`` and its kin."""

    def __init__(self, client: Any, stack: AsyncExitStack, at: LambdaFunction) -> None:
        self._client = client
        self._stack = stack
        self._at = at

    @classmethod
    async def open(cls, at: LambdaFunction, made: AioSession) -> LambdaClient:
        """Connect lazily; credentials that are not given are looked for now, where AWS's own tools look."""
        plain = at.endpoint_url is not None and at.endpoint_url.startswith("http://")
        keys = at.credentials
        config = AioConfig(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=ANSWER_SECONDS,
            max_pool_connections=CONNECTIONS,
            retries={"total_max_attempts": 1, "mode": "standard"},  # one call is one request, and starts one worker
        )
        stack = AsyncExitStack()
        client = await stack.enter_async_context(
            made.create_client(
                "lambda", region_name=at.region, endpoint_url=at.endpoint_url, config=config,
                verify=False if plain else None,
                aws_access_key_id=keys.access_key if keys else None,
                aws_secret_access_key=keys.secret_key if keys else None,
                aws_session_token=keys.token if keys else None,
            )
        )  # fmt: skip
        client.meta.events.register("before-send.lambda", in_pieces)
        return cls(client, stack, at)

    async def close(self) -> None:
        await self._stack.aclose()

    async def call(self, action: str, method: str, **parameters: object) -> dict[str, Any]:
        """One request about the function: what Lambda calls it, and its method in the SDK."""
        with self._ours(action):
            answer: dict[str, Any] = await getattr(self._client, method)(FunctionName=self._at.bare, **parameters)
        return answer

    async def invoke(self, payload: bytes) -> None:
        """Put an event on the function's queue."""
        answer = await self._invoke("Event", payload)
        if answer.get("StatusCode") != 202:
            raise InvokeError(f"Lambda answered an event with status {answer.get('StatusCode')}, not 202")

    async def ask(self, payload: bytes) -> bytes:
        """Have the function executed and wait for its answer; ``InvokeError`` with its own words where it fails."""
        answer = await self._invoke("RequestResponse", payload)
        with self._ours("InvokeFunction"):
            async with answer["Payload"] as stream:
                said: bytes = await stream.read()
        if "FunctionError" in answer:
            raise InvokeError(f"function {self._at.name!r} cannot work: {_remote(said)}")
        return said

    async def function(self) -> Function:
        """The function as it is now."""
        name, found = self._at.name, await self.call("GetFunctionConfiguration", "get_function_configuration")
        architecture = str(found.get("Architectures", ["x86_64"])[0])
        if architecture not in get_args(Architecture):
            raise InvokeError(f"function {name!r} is for {architecture}, which is neither x86_64 nor arm64")
        return Function(
            int(found["MemorySize"]), float(found["Timeout"]), cast("Architecture", architecture),
            str(found.get("Runtime", "")), str(found.get("State", "Active")), str(found.get("CodeSha256", "")),
            dict(found.get("Environment", {}).get("Variables", {})),
        )  # fmt: skip

    async def concurrency(self) -> int | None:
        """How many may run at a time: what is reserved for the function, or what the account has left for all.

        ``None`` where these credentials may not ask.
        """
        try:
            reserved = await self.reserved()
            if reserved is not None:
                return reserved
            with self._ours("GetAccountSettings"):
                limits = (await self._client.get_account_settings())["AccountLimit"]
        except InvokeError as error:
            if error.__cause__ is not None and is_denied(cast("Exception", error.__cause__)):
                return None
            raise
        return int(limits.get("UnreservedConcurrentExecutions", limits["ConcurrentExecutions"]))

    async def reserved(self) -> int | None:
        """How many executions are reserved for the function; ``None``: it has a part in what is left for all."""
        found = await self.call("GetFunctionConcurrency", "get_function_concurrency")
        count = found.get("ReservedConcurrentExecutions")
        return None if count is None else int(count)

    async def reserve(self, count: int | None) -> None:
        """Reserve that many executions for the function; 0: nothing starts; ``None``: as if it never had been."""
        if count is None:
            await self.call("DeleteFunctionConcurrency", "delete_function_concurrency")
        else:
            more = {"ReservedConcurrentExecutions": count}
            await self.call("PutFunctionConcurrency", "put_function_concurrency", **more)

    async def _invoke(self, kind: str, payload: bytes) -> dict[str, Any]:
        more = {"Qualifier": self._at.alias} if self._at.alias else {}
        return await self.call("InvokeFunction", "invoke", InvocationType=kind, Payload=payload, **more)

    @contextmanager
    def _ours(self, action: str) -> Iterator[None]:
        """Errors of the SDK become errors of ours."""
        try:
            yield
        except FOREIGN as error:
            ours = invoke_error(error, action, self._at.name)
            raise (Unreached(str(ours)) if never_arrived(error) else ours) from error


def _remote(said: bytes) -> str:
    """What a function says of its failure: the error and where it came from."""
    try:
        found = json.loads(said)
        trace = "".join(str(line) for line in found.get("stackTrace") or ())
        return f"{found['errorType']}: {found['errorMessage']}" + (f"\n{trace.rstrip()}" if trace else "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return said[:2000].decode(errors="replace")
