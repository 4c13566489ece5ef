"""A client of one S3 server, with the errors of ours, and patience instead of the SDK's retries.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.patience import Patience
from cirrus.store.s3_address import S3Address, is_loopback
from cirrus.store.s3_faults import FOREIGN, Fault, Request, fault_of
from cirrus.store.s3_writing import Unsettled

T = TypeVar("T")

CONNECTIONS = 32
CONNECT_SECONDS = 5.0
SLOWEST = 100_000
"""Bytes a second below which a transfer is given up and begun again."""

_DATA = ("endpoints", "partitions", "sdk-default-configuration", "_retry")


class Lost(Conflict):
    """The server refused a conditional write, or an upload was gone; what that means is still to be found out."""


class Empty(StoreError):
    """The object ends before the range that was asked for begins."""


def new_session(*services: str) -> AioSession:
    """A session of the SDK that has read its own files, so that making a client from it need not; S3's by default."""
    session = get_session()
    loader = session.get_component("data_loader")
    for service in services or ("s3",):
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind)
    for name in _DATA:
        loader.load_data_with_path(name)
    return session


class S3Client:
    """Requests to one server; made by ``open``, to be closed."""

    def __init__(self, client: Any, stack: AsyncExitStack, address: S3Address, patience: Patience) -> None:
        self._client = client
        self._stack = stack
        self._address = address
        self._patience = patience
        self._answered = False

    @classmethod
    async def open(cls, session: AioSession, address: S3Address, patience: Patience) -> S3Client:
        """Connect lazily to the address; credentials are looked for now, where AWS's own tools look."""
        region = address.region or session.get_config_variable("region") or ("us-east-1" if address.endpoint else None)
        plain = address.endpoint is not None and address.endpoint.startswith("http://")
        stack = AsyncExitStack()
        client = await stack.enter_async_context(
            session.create_client(
                "s3",
                region_name=region,
                endpoint_url=address.endpoint,
                verify=False if plain else None,  # there is no certificate; reading the authorities' takes a thread
                config=AioConfig(
                    signature_version="s3v4",
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=patience.silence,
                    max_pool_connections=CONNECTIONS,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    # Bodies carry a CRC-32 in any case. Hashing them as well costs as much as sending them; it is worth
                    # that only where others may change what passes by.
                    s3={
                        "addressing_style": "auto" if address.endpoint is None else "path",
                        "payload_signing_enabled": plain and not is_loopback(address.endpoint or ""),
                    },
                ),
            )
        )
        return cls(client, stack, address, patience)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        await self._stack.aclose()

    async def send(self, request: Request, **parameters: object) -> dict[str, Any]:
        """Send a request until it is answered, or patience is over; ``parameters`` are the operation's own.

        ``NotFound``, ``Lost``, ``Empty``, or ``StoreError`` that says what was tried and what would help.
        """

        async def once() -> dict[str, Any]:
            async with asyncio.timeout(self._patience.silence * 2 + request.size / SLOWEST):
                return await self._call(request.operation, request.key, parameters)

        return await self.patiently(request, once)

    async def patiently(self, request: Request, once: Callable[[], Awaitable[T]]) -> T:
        """What ``once`` returns, after as many tries as it takes, or as patience allows."""
        clock, failures = self._patience.clock, 0
        began = clock.monotonic()
        while True:
            try:
                found = await once()
            except (*FOREIGN, Unsettled) as error:
                fault = self._fault(error, request)
                if fault.kind != "again":
                    raise _ours(fault, request.key) from error
                failures += 1
                pause = self._patience.pause(failures)
                spent = clock.monotonic() - began
                if spent + pause > self._most:
                    tries = f"{failures} tries in {spent:.1f} s"
                    raise StoreError(request.key, f"{request.operation} failed, {tries}: {fault.problem}") from error
                await clock.sleep(pause)
            else:
                self._answered = True
                return found

    async def _call(self, operation: str, key: str, parameters: dict[str, object]) -> dict[str, Any]:
        if operation != "ListObjectsV2":
            parameters = {"Key": self._address.key(key), **parameters}
        if self._address.owner:
            parameters = {"ExpectedBucketOwner": self._address.owner, **parameters}
        method = getattr(self._client, METHODS[operation])
        answer: dict[str, Any] = await method(Bucket=self._address.bucket, **parameters)
        if "Body" in answer:
            async with answer["Body"] as stream:
                answer["Body"] = await stream.read()
        return answer

    def _fault(self, error: Exception, request: Request) -> Fault:
        if isinstance(error, Unsettled):
            self._answered = True
            return Fault("again", "the server refuses the write, although nothing stands against it")
        fault = fault_of(error, request, self._address)
        self._answered |= fault.kind != "again"
        return fault

    @property
    def _most(self) -> float:
        return self._patience.seconds if self._answered else self._patience.unanswered


METHODS = {
    "GetObject": "get_object",
    "HeadObject": "head_object",
    "PutObject": "put_object",
    "DeleteObject": "delete_object",
    "ListObjectsV2": "list_objects_v2",
    "CreateMultipartUpload": "create_multipart_upload",
    "UploadPart": "upload_part",
    "CompleteMultipartUpload": "complete_multipart_upload",
    "AbortMultipartUpload": "abort_multipart_upload",
}


def _ours(fault: Fault, key: str) -> StoreError:
    match fault.kind:
        case "absent":
            return NotFound(key)
        case "lost":
            return Lost(key, fault.problem)
        case "empty":
            return Empty(key, fault.problem)
        case _:
            return StoreError(key, fault.problem)
