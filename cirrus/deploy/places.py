"""Where in AWS something is, and the full names that things have there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cirrus.deploy.deployment import Deployment
from cirrus.errors import PipelineError
from cirrus.store.s3_address import S3Address


@dataclass(frozen=True, slots=True)
class Place:
    """A partition (``aws``), a region, and the 12 digits of an account; or what stands for these in a template."""

    partition: str
    region: str
    account: str


def checked_account(digits: str) -> str:
    """An account as a user has typed it; ``PipelineError``."""
    if not re.fullmatch(r"[0-9]{12}", digits):
        raise PipelineError("account", digits, "an account's 12 digits")
    return digits


@dataclass(frozen=True, slots=True)
class Arns:
    """The full names of what a deployment has at a place."""

    deployment: Deployment
    place: Place

    @property
    def function(self) -> str:
        return self._regional("lambda", f"function:{self.deployment.function}")

    @property
    def role(self) -> str:
        return self.of_role(self.deployment.role_name)

    @property
    def log_group(self) -> str:
        return self._regional("logs", f"log-group:{self.deployment.log_group_name}")

    @property
    def log_group_forms(self) -> tuple[str, str]:
        """The log group as requests about it name it, about its tags the first, about all else the second."""
        return self.log_group, f"{self.log_group}:log-stream:"

    @property
    def log_streams(self) -> str:
        """All streams of the log group: Lambda names them."""
        return f"{self.log_group}:log-stream:*"

    @property
    def log_listing(self) -> str:
        """What CloudWatch takes for the resource of a request that lists log groups."""
        return self._regional("logs", "log-group::log-stream:")

    @property
    def bucket(self) -> str:
        return self.of_bucket(self.deployment.bucket)

    @property
    def objects(self) -> str:
        """All objects of runs."""
        return f"{self.bucket}/{self.deployment.prefix}/*"

    @property
    def data(self) -> tuple[str, ...]:
        """The data that functions may read besides, each as an object and as a prefix."""
        found = [S3Address.parse(one) for one in self.deployment.data]
        return tuple(
            f"{self.of_bucket(one.bucket)}/{key}"
            for one in found
            for key in ((one.prefix, f"{one.prefix}/*") if one.prefix else ("*",))
        )

    def of_bucket(self, name: str) -> str:
        """A bucket's full name."""
        return f"arn:{self.place.partition}:s3:::{name}"

    def of_role(self, name: str) -> str:
        """A role's full name."""
        return f"arn:{self.place.partition}:iam::{self.place.account}:role/{name}"

    def ec2(self, kind: str) -> str:
        """All things of a kind: EC2 gives them their ids."""
        return self._regional("ec2", f"{kind}/*")

    @property
    def images(self) -> str:
        """All images, which belong to no account."""
        return f"arn:{self.place.partition}:ec2:{self.place.region}::image/*"

    def public_parameter(self, path: str) -> str:
        """A parameter that AWS publishes, whose path begins with a slash."""
        return f"arn:{self.place.partition}:ssm:{self.place.region}::parameter{path}"

    def _regional(self, service: str, rest: str) -> str:
        return f"arn:{self.place.partition}:{service}:{self.place.region}:{self.place.account}:{rest}"
