"""The hosts of one run on EC2: started, waited for, and ended.

This module loads the SDK, which takes half a second: import it in a thread.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import ClientError, ClientSession, ClientTimeout

from cirrus.cloud.ec2 import EPOCH, NUMBER, Ec2Shards, Till, run_tags
from cirrus.cloud.ec2_client import Ec2Client, Instance, ec2_client
from cirrus.cloud.ec2_script import Service, script
from cirrus.cloud.hosts import Host, Lodger, new_authority
from cirrus.errors import InvokeError, OutsideError
from cirrus.store.aside import aside
from cirrus.wire.tls import client_side

NAME = "shards.cirrus.internal"
"""What the certificates of these hosts call them, whose addresses are not known when they are made."""

START = 900.0
"""Seconds for a host to boot, to install cirrus, and to answer."""

LOOK = 2.0
HEALTH_SECONDS = 5.0
DAYS = 30.0


@asynccontextmanager
async def rented(
    wish: Ec2Shards, lodger: Lodger, till: Till
) -> AsyncIterator[Callable[[], Awaitable[Sequence[Host]]]]:
    """Gives a way to start the hosts; they end with the block."""
    async with ec2_client(wish.region, wish.endpoint_url) as client:
        hosts = _Rented(wish, lodger, till, client)
        try:
            yield hosts.open
        finally:
            await hosts.close()


class _Rented:
    """The hosts of one run."""

    def __init__(self, wish: Ec2Shards, lodger: Lodger, till: Till, client: Ec2Client) -> None:
        self._wish = wish
        self._lodger = lodger
        self._till = till
        self._clock = till.clock
        self._client = client
        self._hosts: list[str] = []

    async def open(self) -> Sequence[Host]:
        """End those that an earlier driver has left behind, start all of them, and wait until they answer."""
        await self._client.end([one.id for one in await self._client.tagged(run_tags(self._lodger))])
        now, wish = self._clock.wall(), self._wish
        authority = await aside(lambda: new_authority(f"cirrus hosts of {self._lodger.run_id}", now, DAYS))
        identity = await aside(lambda: authority.identity([NAME]))
        secret = secrets.token_urlsafe(32)
        version = importlib.metadata.version("cirrus-serverless")
        packages = wish.packages or (f"cirrus-serverless[shards]=={version}",)
        told = script(Service(packages, wish.port, wish.shards, wish.idle, secret, identity))
        for number in range(wish.count):
            began = self._clock.monotonic()
            host = await self._client.start(**self._launch(number, told))
            self._hosts.append(host)
            self._till.rents.began(began, host, self._till.price, START + wish.idle)
        return [await self._answering(number, authority.ca, secret.encode()) for number in range(wish.count)]

    async def close(self) -> None:
        """End all of them, also one of whose start only the request is known."""
        at = self._clock.monotonic
        try:
            left = await self._client.tagged({**run_tags(self._lodger), EPOCH: str(self._lodger.epoch)})
            await self._client.end(sorted({*self._hosts, *(one.id for one in left)}))
        except OutsideError:
            for host in self._hosts:
                self._till.rents.lost(at(), host)
            raise
        for host in self._hosts:
            self._till.rents.ended(at(), host)

    def _launch(self, number: int, told: str) -> dict[str, object]:
        """What is asked of EC2 for one host."""
        wish, lodger = self._wish, self._lodger
        tags = {
            **wish.tags, **run_tags(lodger), EPOCH: str(lodger.epoch), NUMBER: str(number),
            "Name": f"cirrus {lodger.run_id} shards {number}",
        }  # fmt: skip
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        asked: dict[str, object] = {
            "ImageId": wish.image_id,
            "InstanceType": wish.instance_type,
            "ClientToken": hashlib.sha256(f"{run_tags(lodger)} {lodger.epoch} {number}".encode()).hexdigest(),
            "UserData": told,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "TagSpecifications": [{"ResourceType": kind, "Tags": listed} for kind in ("instance", "volume")],
        }
        if wish.profile:
            asked["IamInstanceProfile"] = {"Name": wish.profile}
        if wish.subnet:
            asked["SubnetId"] = wish.subnet
        if wish.security_groups:
            asked["SecurityGroupIds"] = list(wish.security_groups)
        return asked

    async def _answering(self, number: int, ca: str, secret: bytes) -> Host:
        """The host once it answers; ``InvokeError`` where it ends before, or does not answer in time."""
        host, deadline = self._hosts[number], self._clock.monotonic() + START
        problem = "EC2 does not know it"
        while self._clock.monotonic() < deadline:
            for seen in await self._client.look([host]):
                if seen.state in ("shutting-down", "terminated"):
                    raise InvokeError(f"the host {host} of shards has ended: {seen.reason or 'EC2 does not say why'}")
                problem = f"it is {seen.state}"
                address, port = address_of(seen, self._wish)
                if seen.state == "running" and address:
                    found = Host(address, port, ca, secret, NAME)
                    problem = await _silence(found)
                    if not problem:
                        return found
            await self._clock.sleep(LOOK)
        raise InvokeError(f"the host {host} of shards did not answer within {START:g} s: {problem}")


def address_of(instance: Instance, wish: Ec2Shards) -> tuple[str, int]:
    """Where a host is reached; the address is empty while it has none."""
    return (instance.public if wish.address == "public" else instance.private), wish.port


async def _silence(host: Host) -> str:
    """Why the host does not answer now; empty where it does."""
    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=HEALTH_SECONDS)) as session,
            session.get(f"{host.url}/healthz", ssl=client_side(host.ca), server_hostname=host.name) as answer,
        ):
            return "" if answer.status == 200 else f"it answers with status {answer.status}"
    except (ClientError, OSError) as error:
        return str(getattr(error, "os_error", error)) or type(error).__name__
