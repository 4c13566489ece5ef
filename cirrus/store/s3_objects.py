"""The operations of a store in terms of S3's requests; keys are those of the store, below its prefix."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from cirrus.errors import NotFound, StoreError
from cirrus.store.base import ObjectInfo
from cirrus.store.s3_address import S3Address
from cirrus.store.s3_requests import Empty, Lost, Request, Requests
from cirrus.store.s3_writing import NONCE, Seen, Write, settled

PART = 16 << 20
"""Bytes above which an object is sent in parts, and of each part; larger where there would be more than 10,000."""

MOST_PARTS = 10_000
LANES = 4
"""Parts of one object that are sent at the same time."""


class S3Objects:
    """Objects of one address over one client, which it closes."""

    def __init__(self, client: Requests, address: S3Address) -> None:
        self._client = client
        self._address = address

    async def close(self) -> None:
        await self._client.close()

    async def get(self, key: str, start: int, stop: int | None) -> bytes:
        """The bytes of that range; nothing where the object ends before it."""
        if stop is not None and stop <= start:
            await self.head(key)
            return b""
        whole = start == 0 and stop is None
        ranged = {} if whole else {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"}
        try:
            answer = await self._client.send(Request("GetObject", key), **ranged)
        except Empty:
            return b""
        data: bytes = answer["Body"]
        return data

    async def head(self, key: str) -> Seen:
        """What there is to know of an object without its bytes."""
        answer = await self._client.send(Request("HeadObject", key))
        return Seen(answer["ContentLength"], _etag(answer), answer.get("Metadata", {}).get(NONCE, ""))

    async def delete(self, key: str) -> None:
        try:
            await self._client.send(Request("DeleteObject", key))
        except NotFound:  # servers differ in what they say where there is nothing
            return

    async def listed(self, prefix: str) -> tuple[ObjectInfo, ...]:
        """All objects below the prefix, in ascending order of keys, which not every server keeps by itself."""
        base = self._address.key("")
        more: dict[str, object] = {}
        found = []
        while True:
            page = await self._client.send(Request("ListObjectsV2", prefix), Prefix=base + prefix, **more)
            for one in page.get("Contents", ()):
                name = str(one["Key"]).removeprefix(base)
                if not name.endswith("/") or one["Size"]:  # else a marker that consoles make for an empty folder
                    found.append(ObjectInfo(name, one["Size"], _etag(one)))
            if not page.get("IsTruncated"):
                return tuple(sorted(found, key=attrgetter("key")))
            more = {"ContinuationToken": page["NextContinuationToken"]}

    async def write(self, write: Write) -> str:
        """Write an object and return its ETag; ``Conflict`` where its condition does not hold."""

        async def once() -> str:
            try:
                return await (self._in_parts(write) if len(write.data) > PART else self._at_once(write))
            except (Lost, NotFound):
                return settled(write, await self._seen(write.key))

        return await self._client.patiently(Request("PutObject", write.key), once)

    async def _at_once(self, write: Write) -> str:
        answer = await self._client.send(
            Request("PutObject", write.key, len(write.data)),
            Body=write.data, Metadata=write.metadata, **write.condition,
        )  # fmt: skip
        return _etag(answer)

    async def _in_parts(self, write: Write) -> str:
        """Send the parts side by side; the object appears, whole, with the last request."""
        begun = await self._client.send(Request("CreateMultipartUpload", write.key), Metadata=write.metadata)
        upload = str(begun["UploadId"])
        try:
            parts = await self._parts(write, upload)
            answer = await self._client.send(
                Request("CompleteMultipartUpload", write.key),
                UploadId=upload, MultipartUpload={"Parts": parts}, **write.condition,
            )  # fmt: skip
        except BaseException:
            await self._abandon(write.key, upload)
            raise
        return _etag(answer)

    async def _parts(self, write: Write, upload: str) -> list[dict[str, Any]]:
        view = memoryview(write.data)
        size = max(PART, -(-len(view) // MOST_PARTS))
        starts = iter(range(0, len(view), size))
        sent: dict[int, dict[str, Any]] = {}

        async def lane(starts: Iterator[int]) -> None:
            for start in starts:
                number, part = start // size + 1, view[start : start + size]
                request = Request("UploadPart", write.key, len(part))
                answer = await self._client.send(request, UploadId=upload, PartNumber=number, Body=part)
                sums = {name: value for name, value in answer.items() if name.startswith("ChecksumCRC")}
                sent[number] = {"PartNumber": number, "ETag": answer["ETag"], **sums}

        results = await asyncio.gather(*(lane(starts) for _ in range(LANES)), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [sent[number] for number in sorted(sent)]

    async def _abandon(self, key: str, upload: str) -> None:
        """Have the parts thrown away, else they are billed for ever; what fails here is not what went wrong."""
        try:
            await self._client.send(Request("AbortMultipartUpload", key), UploadId=upload)
        except StoreError:
            return

    async def _seen(self, key: str) -> Seen | None:
        try:
            return await self.head(key)
        except NotFound:
            return None


def _etag(answer: dict[str, Any]) -> str:
    """Without its quotes, which servers do not set alike."""
    return str(answer["ETag"]).removeprefix("W/").strip('"')
