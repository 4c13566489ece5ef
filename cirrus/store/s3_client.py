"""A client of one S3 server, with the errors of ours, and patience instead of the SDK's retries.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session

from cirrus.store.patience import Patience
from cirrus.store.s3_address import S3Address, is_loopback
from cirrus.store.s3_faults import FOREIGN, fault_of
from cirrus.store.s3_requests import Fault, Request, Requests

CONNECTIONS = 32
CONNECT_SECONDS = 5.0
_DATA = ("endpoints", "partitions", "sdk-default-configuration", "_retry")


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


class S3Client(Requests):
    """Requests to one server; made by ``open``, to be closed."""

    foreign = FOREIGN

    def __init__(self, client: Any, stack: AsyncExitStack, address: S3Address, patience: Patience) -> None:
        super().__init__(address, patience)
        self._client = client
        self._stack = stack

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

    async def _call(self, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if operation != "ListObjectsV2":
            parameters = {"Key": self._address.key(key), **parameters}
        if "Body" in parameters:  # the SDK takes no views
            parameters = {**parameters, "Body": bytes(parameters["Body"])}
        if self._address.owner:
            parameters = {"ExpectedBucketOwner": self._address.owner, **parameters}
        method = getattr(self._client, METHODS[operation])
        answer: dict[str, Any] = await method(Bucket=self._address.bucket, **parameters)
        if "Body" in answer:
            async with answer["Body"] as stream:
                answer["Body"] = await stream.read()
        return answer

    def _fault_of(self, error: Exception, request: Request) -> Fault:
        return fault_of(error, request, self._address)


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
