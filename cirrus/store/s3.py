"""A store on S3, or on any server that speaks S3 and has conditional writes."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import AsyncIterator, Callable
from importlib.util import find_spec

from cirrus.errors import StoreError
from cirrus.store.aside import aside
from cirrus.store.base import ObjectInfo
from cirrus.store.keys import checked, checked_prefix, checked_range
from cirrus.store.patience import Patience
from cirrus.store.s3_address import S3Address
from cirrus.store.s3_objects import S3Objects
from cirrus.store.s3_writing import Exactly, Expected, Nothing, Whatever, Write

_SDK = "cirrus.store.s3_client"
"""The module that loads AWS's SDK, by name: half a second that nobody pays before the first request."""

_LEAN = "cirrus.store.s3_lean"
"""The module that does without: it is used where there is no SDK, as in a serverless function."""


class S3Store:
    """Objects below ``prefix`` of a bucket, which must exist.

    ``endpoint_url`` and ``region`` are taken from the environment (``AWS_ENDPOINT_URL``, ``AWS_REGION``) where they are
    not given, credentials always from where AWS's own tools take them: environment, profile, role. ``owner`` is the
    account that must own the bucket, or every request is refused. Nothing is loaded or connected before the first
    request; the store belongs to the event loop of that one, and has to be closed.

    A write that was refused after an earlier answer was lost is recognised as our own. Objects above 16 MB are sent in
    parts; what a process that is killed leaves of them only a lifecycle rule of the bucket removes.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        owner: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._address = S3Address(bucket, prefix, region, endpoint_url, owner).resolved(os.environ)
        self._patience = patience or Patience()
        self._objects: S3Objects | None = None
        self._opening: asyncio.Future[None] | None = None
        self._closed = False

    @classmethod
    def from_url(cls, url: str) -> S3Store:
        """The store that ``url`` names; ``PipelineError``."""
        one = S3Address.parse(url)
        return cls(one.bucket, one.prefix, region=one.region, endpoint_url=one.endpoint, owner=one.owner)

    @property
    def url(self) -> str:
        """``s3://bucket/prefix?endpoint=...&region=...``; credentials are not in it."""
        return self._address.url

    async def get(self, key: str, start: int = 0, stop: int | None = None) -> bytes:
        checked_range(key, start, stop)
        return await (await self._ready(key)).get(key, start, stop)

    async def info(self, key: str) -> ObjectInfo:
        seen = await (await self._ready(key)).head(key)
        return ObjectInfo(key, seen.size, seen.etag)

    async def put(self, key: str, data: bytes | memoryview) -> str:
        return await self._write(key, data, Whatever())

    async def put_if_absent(self, key: str, data: bytes | memoryview) -> str:
        return await self._write(key, data, Nothing())

    async def replace_if(self, key: str, data: bytes | memoryview, etag: str) -> str:
        return await self._write(key, data, Exactly(etag))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects below the prefix; what is written or deleted meanwhile may or may not be among them."""
        objects = await self._ready(checked_prefix(prefix), checked_prefix)
        for info in await objects.listed(prefix):
            checked(info.key)
            yield info

    async def delete(self, key: str) -> None:
        await (await self._ready(key)).delete(key)

    async def close(self) -> None:
        """Close all connections; requests under way fail."""
        self._closed = True
        while self._opening is not None:
            await asyncio.shield(self._opening)
        objects, self._objects = self._objects, None
        if objects is not None:
            await objects.close()

    async def _write(self, key: str, data: bytes | memoryview, expected: Expected) -> str:
        objects = await self._ready(key)
        return await objects.write(Write(key, data if isinstance(data, bytes) else data.cast("B"), expected))

    async def _ready(self, key: str, check: Callable[[str], str] = checked) -> S3Objects:
        """The client, made by whoever comes first; others wait for it."""
        self._address_key(key, check)
        while self._objects is None:
            if self._closed:
                raise StoreError(self.url, "this store is closed")
            if self._opening is not None:
                await asyncio.shield(self._opening)
                continue
            self._opening = asyncio.get_running_loop().create_future()
            try:
                module = await aside(lambda: importlib.import_module(_SDK if find_spec("aiobotocore") else _LEAN))
                session = await aside(module.new_session)
                client = await module.S3Client.open(session, self._address, self._patience)
                self._objects = S3Objects(client, self._address)
            finally:
                opened, self._opening = self._opening, None
                opened.set_result(None)
        return self._objects

    def _address_key(self, key: str, check: Callable[[str], str]) -> None:
        """Both the key and what it becomes in the bucket must be allowed."""
        check(key)
        try:
            check(self._address.key(key))
        except StoreError as error:
            raise StoreError(key, f"below the prefix of this store: {error.problem}") from error
