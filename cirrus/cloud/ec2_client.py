"""Requests to EC2 about the hosts of runs.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig

from cirrus.cloud.lambda_faults import FOREIGN, code_of, is_denied, is_expired, is_stranger
from cirrus.errors import InvokeError
from cirrus.store.aside import aside
from cirrus.store.s3_client import new_session

CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 5.0, 30.0, 4
ALIVE = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, slots=True)
class Instance:
    """A host as EC2 describes it; addresses are empty while it has none, ``reason`` where it gives none."""

    id: str
    state: str
    public: str
    private: str
    reason: str
    tags: Mapping[str, str]


class Ec2Client:
    """Made by ``ec2_client``. Errors are ``InvokeError``."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def start(self, **parameters: object) -> str:
        """Start one host; the same once more where ``ClientToken`` is the same. Returns its id."""
        answer = await self._ask("RunInstances", "run_instances", MinCount=1, MaxCount=1, **parameters)
        return str(answer["Instances"][0]["InstanceId"])

    async def tagged(self, tags: Mapping[str, str]) -> tuple[Instance, ...]:
        """Hosts with these tags that are there, or are about to be."""
        filters = [{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]
        return await self._described(Filters=[*filters, {"Name": "instance-state-name", "Values": list(ALIVE)}])

    async def look(self, hosts: Sequence[str]) -> tuple[Instance, ...]:
        """Those hosts as they are now; one that EC2 does not know yet is left out."""
        if not hosts:
            return ()
        return await self._described(Filters=[{"Name": "instance-id", "Values": list(hosts)}])

    async def end(self, hosts: Sequence[str]) -> None:
        """Terminate them; nothing happens to those that have ended."""
        if hosts:
            await self._ask("TerminateInstances", "terminate_instances", InstanceIds=list(hosts))

    async def _described(self, **parameters: object) -> tuple[Instance, ...]:
        found: list[Instance] = []
        while True:
            answer = await self._ask("DescribeInstances", "describe_instances", **parameters)
            found += [_instance(one) for group in answer["Reservations"] for one in group["Instances"]]
            if not answer.get("NextToken"):
                return tuple(found)
            parameters["NextToken"] = answer["NextToken"]

    async def _ask(self, action: str, method: str, **parameters: object) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await getattr(self._client, method)(**parameters)
        except FOREIGN as error:
            raise InvokeError(_problem(error, action)) from error
        return answer


@asynccontextmanager
async def ec2_client(region: str, endpoint: str | None) -> AsyncIterator[Ec2Client]:
    """Connect lazily; credentials are looked for where AWS's own tools look."""
    session = await aside(lambda: new_session("ec2"))
    plain = endpoint is not None and endpoint.startswith("http://")
    config = AioConfig(
        connect_timeout=CONNECT_SECONDS, read_timeout=ANSWER_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
    )  # fmt: skip
    async with session.create_client(
        "ec2", region_name=region, endpoint_url=endpoint, config=config, verify=False if plain else None
    ) as client:
        yield Ec2Client(client)


def _instance(found: Mapping[str, Any]) -> Instance:
    return Instance(
        str(found["InstanceId"]), str(found["State"]["Name"]), str(found.get("PublicIpAddress", "")),
        str(found.get("PrivateIpAddress", "")), str(found.get("StateReason", {}).get("Message", "")),
        {str(one["Key"]): str(one["Value"]) for one in found.get("Tags", ())},
    )  # fmt: skip


def _problem(error: Exception, action: str) -> str:
    if is_denied(error):
        return f"the AWS credentials may not call ec2:{action} ({code_of(error)})"
    if is_expired(error):
        return "the AWS credentials have expired; renew them"
    if is_stranger(error):
        return f"EC2 does not accept the AWS credentials ({code_of(error)}); if they are right, look at the clock"
    return f"EC2: {action}: {error}"
