"""Where the function's logs go."""

from __future__ import annotations

from collections.abc import Mapping

from cirrus.deploy.plan import LogGroupPlan
from cirrus.deploy.services import Services
from cirrus.deploy.things import Aspect, part


class LogGroup:
    """The log group of a plan, as a thing."""

    def __init__(self, services: Services, plan: LogGroupPlan) -> None:
        self._services = services
        self._plan = plan

    @property
    def title(self) -> str:
        return f"log group {self._plan.name}"

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        plan = self._plan
        return (
            Aspect("tags", dict(plan.tags), self._our_tags, self._write_tags),
            Aspect("days that logs are kept", plan.retention, self._retention, self._write_retention, born=False),
        )

    async def tags(self) -> Mapping[str, str] | None:
        if self._plan.name not in await self._known():
            return None
        found = await self._services.ask("logs", "list_tags_for_resource", resourceArn=self._plan.arn)
        return dict(found.get("tags", {}))

    async def create(self) -> None:
        tags = dict(self._plan.tags)
        await self._services.ask("logs", "create_log_group", logGroupName=self._plan.name, tags=tags)

    async def kept(self) -> str:
        return ""

    async def remove(self) -> None:
        await self._services.ask("logs", "delete_log_group", logGroupName=self._plan.name)

    async def _our_tags(self) -> object:
        return part(await self.tags(), self._plan.tags)

    async def _write_tags(self) -> None:
        await self._services.ask("logs", "tag_resource", resourceArn=self._plan.arn, tags=dict(self._plan.tags))

    async def _known(self) -> dict[str, int | None]:
        """The days of the log groups whose names begin like ours."""
        page = await self._services.ask("logs", "describe_log_groups", logGroupNamePrefix=self._plan.name)
        return {one["logGroupName"]: one.get("retentionInDays") for one in page["logGroups"]}

    async def _retention(self) -> object:
        return (await self._known()).get(self._plan.name)

    async def _write_retention(self) -> None:
        name, days = self._plan.name, self._plan.retention
        await self._services.ask("logs", "put_retention_policy", logGroupName=name, retentionInDays=days)
