"""The role that the function runs under."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cirrus.deploy.plan import RolePlan
from cirrus.deploy.services import Services
from cirrus.deploy.things import Aspect, canonical, pairs, part, unpaired


class Role:
    """The role of a plan, as a thing."""

    def __init__(self, services: Services, plan: RolePlan) -> None:
        self._services = services
        self._plan = plan

    @property
    def title(self) -> str:
        return f"role {self._plan.name}"

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        plan = self._plan
        return (
            Aspect("tags", dict(plan.tags), self._our_tags, self._write_tags),
            Aspect("who takes it", canonical(plan.trust), self._trust, self._write_trust),
            Aspect("what it may", canonical(plan.policy), self._policy, self._write_policy, born=False),
        )

    async def tags(self) -> Mapping[str, str] | None:
        found = await self._find("get_role")
        return unpaired(found["Role"].get("Tags", [])) if found else None

    async def create(self) -> None:
        document, tags = json.dumps(self._plan.trust), pairs(self._plan.tags)
        await self._ask("create_role", AssumeRolePolicyDocument=document, Tags=tags)

    async def kept(self) -> str:
        return ""

    async def remove(self) -> None:
        await self._find("delete_role_policy", PolicyName=self._plan.policy_name)
        await self._ask("delete_role")

    async def _our_tags(self) -> object:
        return part(await self.tags(), self._plan.tags)

    async def _write_tags(self) -> None:
        await self._ask("tag_role", Tags=pairs(self._plan.tags))

    async def _trust(self) -> object:
        found = await self._find("get_role")
        return found and canonical(found["Role"]["AssumeRolePolicyDocument"])

    async def _write_trust(self) -> None:
        await self._ask("update_assume_role_policy", PolicyDocument=json.dumps(self._plan.trust))

    async def _policy(self) -> object:
        found = await self._find("get_role_policy", PolicyName=self._plan.policy_name)
        return found and canonical(found["PolicyDocument"])

    async def _write_policy(self) -> None:
        document = json.dumps(self._plan.policy)
        await self._ask("put_role_policy", PolicyName=self._plan.policy_name, PolicyDocument=document)

    async def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._services.ask("iam", method, RoleName=self._plan.name, **parameters)

    async def _find(self, method: str, **parameters: object) -> dict[str, Any] | None:
        return await self._services.find("iam", method, RoleName=self._plan.name, **parameters)
