"""Deploy to an account, and take away again what was deployed."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cirrus.clock import Clock
from cirrus.deploy.apply import Change, bring, check_free, remove
from cirrus.deploy.buckets import Bucket
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.functions import Function
from cirrus.deploy.log_groups import LogGroup
from cirrus.deploy.places import Place
from cirrus.deploy.plan import Plan, planned
from cirrus.deploy.roles import Role
from cirrus.deploy.services import Services
from cirrus.deploy.stamps import Stamp
from cirrus.deploy.things import Thing
from cirrus.errors import PipelineError


class Account:
    """The account that the credentials of ``services`` belong to."""

    def __init__(self, services: Services, clock: Clock) -> None:
        self._services = services
        self._clock = clock

    async def place(self) -> Place:
        """Where things are made; ``OutsideError`` where the credentials are not accepted."""
        found = await self._services.ask("sts", "get_caller_identity")
        return Place(found["Arn"].split(":")[1], self._services.region, found["Account"])

    async def deploy(self, deployment: Deployment, code: bytes, stamp: Stamp, *, dry: bool) -> AsyncIterator[Change]:
        """Make and set what is not as it should be; ``dry``: only tell what would be done.

        ``PipelineError`` where a name is taken by something else, before anything is changed.
        """
        plan = planned(deployment, await self.place(), stamp)
        things = self._things(plan, code)
        await check_free(things, deployment.function)
        if plan.bucket is None:
            await self._check_bucket(deployment)
        async for change in bring(things, dry=dry):
            yield change

    async def destroy(self, deployment: Deployment, *, data: bool, dry: bool) -> AsyncIterator[Change]:
        """Remove what was deployed; the bucket only where it is empty, or where its ``data`` may go as well."""
        plan = planned(deployment, await self.place(), Stamp("", ""))
        async for change in remove(self._things(plan, emptied=data)[::-1], deployment.function, dry=dry):
            yield change

    def _things(self, plan: Plan, code: bytes | None = None, *, emptied: bool = False) -> tuple[Thing, ...]:
        """All things of a plan, each after those that it needs."""
        bucket = [] if plan.bucket is None else [Bucket(self._services, plan.bucket, emptied=emptied)]
        return (
            *bucket,
            Role(self._services, plan.role),
            LogGroup(self._services, plan.log_group),
            Function(self._services, plan.function, self._clock, code),
        )

    async def _check_bucket(self, deployment: Deployment) -> None:
        where = {"Bucket": deployment.bucket, "Prefix": f"{deployment.prefix}/", "MaxKeys": 1}
        if await self._services.find("s3", "list_objects_v2", **where) is None:
            raise PipelineError("deploy.bucket", deployment.bucket, "a bucket that is there, or one that is to be made")
