"""The function: its settings, its code, and what Lambda does with events that fail."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

from cirrus.clock import Clock
from cirrus.deploy.plan import FunctionPlan
from cirrus.deploy.services import Services
from cirrus.deploy.things import Aspect, part
from cirrus.errors import OutsideError

PAUSE = 1.0
PATIENCE = 120.0
"""Seconds between two looks at a function that changes, and for how long."""

ASSUMED = "cannot be assumed by Lambda"
"""In the words of AWS where a role is too new to be known everywhere."""


class Function:
    """The function of a plan, as a thing; ``code`` is the zip, ``None`` where nobody wants to change it."""

    def __init__(self, services: Services, plan: FunctionPlan, clock: Clock, code: bytes | None = None) -> None:
        self._services = services
        self._plan = plan
        self._clock = clock
        self._code = code

    @property
    def title(self) -> str:
        return f"function {self._plan.name}"

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        plan, after = self._plan, partial(Aspect, born=False)
        events = {"MaximumRetryAttempts": plan.retries, "MaximumEventAgeInSeconds": plan.event_age}
        found = [
            Aspect("tags", dict(plan.tags), self._our_tags, self._write_tags),
            Aspect("settings", _told(_settings(plan)), self._settings, self._write_settings),
        ]
        if self._code is not None:
            wanted = {"CodeSha256": digest(self._code), "Architectures": [plan.architecture]}
            found.append(Aspect("code", wanted, self._deployed, partial(self._write_code, self._code)))
        found.append(after("no retries of events", events, self._events, partial(self._write_events, events)))
        if plan.concurrency is not None:
            found.append(after("reserved concurrency", plan.concurrency, self._reserved, self._reserve))
        return tuple(found)

    async def tags(self) -> Mapping[str, str] | None:
        found = await self._services.find("lambda", "get_function", FunctionName=self._plan.name)
        return None if found is None else dict(found.get("Tags", {}))

    async def create(self) -> None:
        assert self._code is not None, "only what deploys creates"
        began, plan = self._clock.monotonic(), self._plan
        more = {"Architectures": [plan.architecture], "Tags": dict(plan.tags), "Code": {"ZipFile": self._code}}
        while True:
            try:
                await self._ask("create_function", **_settings(plan), **more)
            except OutsideError as error:
                if ASSUMED not in str(error) or self._clock.monotonic() - began > PATIENCE:
                    raise
                await self._clock.sleep(PAUSE)
            else:
                return await self._settled()

    async def kept(self) -> str:
        return ""

    async def remove(self) -> None:
        await self._ask("delete_function")

    async def _our_tags(self) -> object:
        return part(await self.tags(), self._plan.tags)

    async def _write_tags(self) -> None:
        await self._services.ask("lambda", "tag_resource", Resource=self._plan.arn, Tags=dict(self._plan.tags))

    async def _configuration(self) -> dict[str, Any]:
        return await self._ask("get_function_configuration")

    async def _settings(self) -> object:
        found, wanted = _told(await self._configuration()), _told(_settings(self._plan))
        return {**part(found, wanted), "Environment": part(found["Environment"], self._plan.environment)}

    async def _write_settings(self) -> None:
        settings = _settings(self._plan)
        others = _told(await self._configuration())["Environment"]
        settings["Environment"] = {"Variables": {**others, **self._plan.environment}}
        await self._ask("update_function_configuration", **settings)
        await self._settled()

    async def _deployed(self) -> object:
        found = await self._configuration()
        return {"CodeSha256": found["CodeSha256"], "Architectures": found["Architectures"]}

    async def _write_code(self, code: bytes) -> None:
        await self._ask("update_function_code", ZipFile=code, Architectures=[self._plan.architecture])
        await self._settled()

    async def _events(self) -> object:
        name, wanted = self._plan.name, ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
        found = await self._services.find("lambda", "get_function_event_invoke_config", FunctionName=name)
        return found and {one: found.get(one) for one in wanted}

    async def _write_events(self, wanted: Mapping[str, int]) -> None:
        await self._ask("put_function_event_invoke_config", **wanted)

    async def _reserved(self) -> object:
        return (await self._ask("get_function_concurrency")).get("ReservedConcurrentExecutions")

    async def _reserve(self) -> None:
        await self._ask("put_function_concurrency", ReservedConcurrentExecutions=self._plan.concurrency)

    async def _settled(self) -> None:
        """Wait until a change has come to its end; ``OutsideError`` where it failed."""
        began = self._clock.monotonic()
        while True:
            found = await self._configuration()
            state, update = found.get("State", "Active"), found.get("LastUpdateStatus", "Successful")
            if "Failed" in {state, update}:
                reason = found.get("LastUpdateStatusReason") or found.get("StateReason", "")
                raise OutsideError(f"Lambda could not change function {self._plan.name!r}: {reason}")
            if state != "Pending" and update != "InProgress":
                return
            if self._clock.monotonic() - began > PATIENCE:
                raise OutsideError(f"function {self._plan.name!r} is still {state}, {update} after {PATIENCE:g} s")
            await self._clock.sleep(PAUSE)

    async def _ask(self, method: str, **parameters: object) -> dict[str, Any]:
        return await self._services.ask("lambda", method, FunctionName=self._plan.name, **parameters)


def digest(code: bytes) -> str:
    """SHA-256 of a zip as Lambda tells it."""
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


def _settings(plan: FunctionPlan) -> dict[str, Any]:
    """The function as requests describe it."""
    return {
        "Role": plan.role, "Handler": plan.handler, "Runtime": plan.runtime, "MemorySize": plan.memory,
        "Timeout": plan.timeout, "EphemeralStorage": {"Size": plan.disk},
        "Environment": {"Variables": dict(plan.environment)},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": plan.log_group},
    }  # fmt: skip


def _told(described: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields of a request or an answer, flat."""
    return {
        **{name: described[name] for name in ("Role", "Handler", "Runtime", "MemorySize", "Timeout")},
        "EphemeralStorage": described["EphemeralStorage"]["Size"],
        "Environment": dict(described.get("Environment", {}).get("Variables", {})),
        "LogGroup": described.get("LoggingConfig", {}).get("LogGroup"),
    }
