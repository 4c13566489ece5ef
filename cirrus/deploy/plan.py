"""What should be there: the values from which ``deploy`` and all templates are made, so that they cannot differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cirrus.bundle.contents import HANDLER
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.places import Arns, Place
from cirrus.deploy.policies import Document, encrypted_only, trust, worker
from cirrus.deploy.stamps import Stamp

RETRIES = 0
"""How often Lambda tries an event again that failed: never, for runs replace their workers themselves."""

EVENT_AGE = 60
"""Seconds after which an event that could not be started is thrown away; the least that Lambda takes."""


@dataclass(frozen=True, slots=True)
class BucketPlan:
    """A bucket that is closed to the public, encrypted, reached by TLS only, and free of unfinished uploads."""

    name: str
    region: str
    policy: Document
    kms_key: str | None
    abandoned: int
    tags: Mapping[str, str]

    @property
    def algorithm(self) -> str:
        """How objects are encrypted."""
        return "AES256" if self.kms_key is None else "aws:kms"


@dataclass(frozen=True, slots=True)
class RolePlan:
    """The role of the function, with one policy of its own."""

    name: str
    arn: str
    trust: Document
    policy_name: str
    policy: Document
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LogGroupPlan:
    """Where the function's logs go, and for how many days."""

    name: str
    arn: str
    retention: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FunctionPlan:
    """The function; memory and disk in MB, times in seconds."""

    name: str
    arn: str
    role: str
    handler: str
    runtime: str
    architecture: str
    memory: int
    timeout: int
    disk: int
    environment: Mapping[str, str]
    log_group: str
    retries: int
    event_age: int
    concurrency: int | None
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it; ``bucket`` is ``None`` where the bucket is used as it is."""

    bucket: BucketPlan | None
    role: RolePlan
    log_group: LogGroupPlan
    function: FunctionPlan


def planned(deployment: Deployment, place: Place, stamp: Stamp) -> Plan:
    """What the deployment is at that place, with code of that stamp."""
    arns, tags = Arns(deployment, place), deployment.all_tags
    policy, kms_key = encrypted_only(deployment, place), deployment.kms_key
    bucket = BucketPlan(deployment.bucket, place.region, policy, kms_key, deployment.abandoned, tags)
    return Plan(
        bucket if deployment.own_bucket else None,
        RolePlan(deployment.role_name, arns.role, trust(), deployment.function, worker(deployment, place), tags),
        LogGroupPlan(deployment.log_group_name, arns.log_group, deployment.retention, tags),
        FunctionPlan(
            name=deployment.function, arn=arns.function, role=arns.role, handler=f"{HANDLER}.handler",
            runtime=f"python{deployment.python}", architecture=deployment.architecture, memory=deployment.memory,
            timeout=deployment.timeout, disk=deployment.disk, environment=stamp.environment,
            log_group=deployment.log_group_name, retries=RETRIES, event_age=EVENT_AGE,
            concurrency=deployment.concurrency, tags=tags,
        ),
    )  # fmt: skip
