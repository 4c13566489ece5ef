"""What a user wants to have in an account, as one frozen value; nothing here talks to AWS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cirrus import checks
from cirrus.bundle.building import ARCHITECTURES, PYTHONS
from cirrus.errors import PipelineError
from cirrus.store.s3_address import S3Address

RETENTIONS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
"""Days for which CloudWatch can keep logs."""

MARK = "cirrus-deployment"
"""The tag that everything has which was made for a function; its value is the function's name."""

_FUNCTION = re.compile(r"[A-Za-z0-9-_]{1,64}")
_ROLE = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_LOG_GROUP = re.compile(r"[A-Za-z0-9_./#-]{1,512}")
_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
_TAG = re.compile(r"[\w .:/=+@-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A function with its role and logs, and the bucket whose ``prefix`` holds the objects of runs.

    ``memory`` and ``disk`` in MB, ``timeout`` in seconds, ``retention`` of logs in days; ``abandoned`` is after how
    many days unfinished uploads are removed. ``own_bucket``: the bucket is made and set up, otherwise used as it is.
    ``data`` are ``s3://`` URLs that functions may read as well, ``kms_key`` is the key that objects are encrypted with
    (``None``: one of S3's). ``concurrency`` is how many executions are reserved for the function and are the most that
    it has (``None``: as many as the account has left). ``tags`` are added to everything.
    """

    bucket: str
    region: str
    function: str = "cirrus-worker"
    prefix: str = "cirrus"
    own_bucket: bool = True
    role: str = ""
    log_group: str = ""
    data: tuple[str, ...] = ()
    memory: int = 1769
    timeout: int = 900
    disk: int = 512
    python: str = "3.11"
    architecture: str = "x86_64"
    retention: int = 30
    abandoned: int = 1
    kms_key: str | None = None
    concurrency: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        S3Address(self.bucket, self.prefix, self.region)
        for one in self.data:
            S3Address.parse(one)
        checks.text("deploy.prefix", self.prefix)
        _matches("deploy.function", self.function, _FUNCTION, "1 to 64 letters, digits, dashes and underscores")
        check_role("deploy.role", self.role_name)
        _matches("deploy.log_group", self.log_group_name, _LOG_GROUP, "letters, digits and any of _./#-")
        checks.integer("deploy.memory", self.memory, 128, 10_240)
        checks.integer("deploy.timeout", self.timeout, 1, 900)
        checks.integer("deploy.disk", self.disk, 512, 10_240)
        checks.one_of("deploy.python", self.python, PYTHONS)
        checks.one_of("deploy.architecture", self.architecture, ARCHITECTURES)
        checks.one_of("deploy.retention", self.retention, RETENTIONS)
        checks.integer("deploy.abandoned", self.abandoned, 1, 3650)
        if self.kms_key is not None:
            _matches("deploy.kms_key", self.kms_key, _KEY, "a key's ARN, as arn:aws:kms:REGION:ACCOUNT:key/ID")
        if self.concurrency is not None:
            checks.integer("deploy.concurrency", self.concurrency, 1, 1_000_000)
        for name, value in self.tags.items():
            _check_tag(name, value)

    @property
    def role_name(self) -> str:
        """The role of the function: one for each region, for roles are of all regions."""
        return self.role or f"{self.function}-{self.region}"

    @property
    def log_group_name(self) -> str:
        """Where the function's logs go."""
        return self.log_group or f"/aws/lambda/{self.function}"

    @property
    def all_tags(self) -> dict[str, str]:
        """The user's tags and the mark by which ``destroy`` knows what it may remove."""
        return {**self.tags, MARK: self.function}


def check_role(field: str, name: str) -> None:
    """``name`` must be one that a role may have."""
    _matches(field, name, _ROLE, "1 to 64 letters, digits and any of _+=,.@-; name one")


def _matches(name: str, value: str, pattern: re.Pattern[str], allowed: str) -> None:
    if not pattern.fullmatch(value):
        raise PipelineError(name, value, allowed)


def _check_tag(name: str, value: str) -> None:
    good = _TAG.fullmatch(name) and (not value or _TAG.fullmatch(value))
    if not good or name == MARK or name.lower().startswith("aws:"):
        raise PipelineError("deploy.tags", f"{name}={value}", f"a name and a value; not {MARK}, and none of AWS's own")
