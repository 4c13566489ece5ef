"""Requests to the services of AWS that a deployment touches, with the errors of ours.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, cast, get_args

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import NoCredentialsError, PartialCredentialsError

from cirrus.cloud.lambda_faults import FOREIGN, code_of, is_denied, is_expired, is_stranger
from cirrus.errors import OutsideError
from cirrus.store.aside import aside
from cirrus.store.s3_client import new_session

Service = Literal["sts", "s3", "iam", "lambda", "logs"]
SERVICES: tuple[Service, ...] = get_args(Service)
Endpoints = Mapping[Service, str]
"""URLs of servers that speak as the services do; AWS for those that are not named."""

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
ATTEMPTS = 4

_MISSING = {
    "404", "NotFound", "NoSuchBucket", "NoSuchTagSet", "NoSuchBucketPolicy", "NoSuchLifecycleConfiguration",
    "NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError", "NoSuchEntity",
    "ResourceNotFoundException",
}  # fmt: skip


class Services:
    """Clients of all of them in one region; made by ``services``."""

    def __init__(self, clients: Mapping[Service, Any], region: str) -> None:
        self.region = region
        self._clients = clients

    async def ask(self, service: Service, method: str, **parameters: object) -> dict[str, Any]:
        """What the service answers; ``OutsideError`` with what to do about it where that is known."""
        client = self._clients[service]
        try:
            answer: dict[str, Any] = await getattr(client, method)(**parameters)
        except FOREIGN as error:
            action = f"{service} {client.meta.method_to_api_mapping[method]}"
            raise OutsideError(_problem(error, action)) from error
        return answer

    async def find(self, service: Service, method: str, **parameters: object) -> dict[str, Any] | None:
        """The same; ``None`` where the service says that there is no such thing."""
        try:
            return await self.ask(service, method, **parameters)
        except OutsideError as error:
            if foreign_code(error) in _MISSING:
                return None
            raise


def foreign_code(error: OutsideError) -> str:
    """The code of the error that a service has sent; empty where it sent none."""
    return code_of(cast("Exception", error.__cause__))


def foreign_answer(error: OutsideError) -> dict[str, Any]:
    """What a service has sent along with an error; empty where it sent nothing."""
    return dict(getattr(error.__cause__, "response", {}))


def denied(error: OutsideError) -> bool:
    """Whether a service has said that these credentials may not."""
    return is_denied(cast("Exception", error.__cause__)) or foreign_code(error) == "403"


def session_of_all() -> AioSession:
    """A session that has read what it needs to know of all services."""
    return new_session(*SERVICES)


def region_here() -> str | None:
    """The region of the environment or the profile."""
    found: str | None = new_session("sts").get_config_variable("region")
    return found


def partition_of(region: str) -> str:
    """The part of AWS that the region belongs to."""
    found: str = new_session("sts").get_partition_for_region(region)
    return found


@asynccontextmanager
async def services(region: str, endpoints: Endpoints, session: AioSession | None = None) -> AsyncIterator[Services]:
    """Connect lazily; credentials are looked for where AWS's own tools look, or are those of the session."""
    session = session or await aside(session_of_all)
    async with AsyncExitStack() as stack:
        clients = {one: await _client(session, one, region, endpoints.get(one), stack) for one in SERVICES}
        yield Services(clients, region)


async def _client(
    session: AioSession, service: Service, region: str, endpoint: str | None, stack: AsyncExitStack
) -> Any:
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        s3={"addressing_style": "auto" if endpoint is None else "path"},
    )
    plain = endpoint is not None and endpoint.startswith("http://")
    return await stack.enter_async_context(
        session.create_client(
            service, region_name=region, endpoint_url=endpoint, config=config, verify=False if plain else None
        )
    )


def _problem(error: Exception, action: str) -> str:
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return "no AWS credentials were found in the environment, a profile or a role"
    if is_denied(error):
        return f"the AWS credentials may not call {action}; cirrus iam deployer prints what they need ({error})"
    if is_expired(error):
        return "the AWS credentials have expired; renew them"
    if is_stranger(error):
        return f"AWS does not accept the credentials ({code_of(error)}); if they are right, look at the clock"
    return f"{action}: {error}"
