"""AWS as the place of a run: a Lambda function whose workers keep everything in a bucket on S3."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from cirrus.clock import Clock
from cirrus.cloud.base import Invoker, Side
from cirrus.cloud.hosts import ShardHosts
from cirrus.cloud.served import shard_hosts
from cirrus.core.slots import PoolPolicy
from cirrus.errors import PipelineError
from cirrus.store.base import ObjectStore
from cirrus.store.opening import open_store
from cirrus.store.s3_address import S3Address, is_loopback
from cirrus.store.sigv4 import Credentials

_FUNCTION = re.compile(r"[A-Za-z0-9-_]{1,64}(:[A-Za-z0-9$_-]{1,128})?")
START = 75.0
"""Seconds for a worker to speak: AWS may hold an event for a minute, after which it is thrown away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LambdaFunction:
    """A function of the Lambda service, and how to reach it; ``name`` may be followed by ``:alias``.

    ``endpoint_url`` is another server that speaks as Lambda does (``None``: AWS), ``credentials`` whose keys sign
    requests (``None``: those that AWS's own tools would take).
    """

    name: str
    region: str
    endpoint_url: str | None = None
    credentials: Credentials | None = field(default=None, repr=False)

    @property
    def bare(self) -> str:
        """The name without an alias."""
        return self.name.partition(":")[0]

    @property
    def alias(self) -> str:
        """The alias; empty where there is none."""
        return self.name.partition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aws:
    """Workers as invocations of the function ``function``, objects below ``prefix`` of the bucket ``bucket``.

    ``endpoint_url`` and ``s3_endpoint_url`` are other servers that speak as Lambda and S3 do (``None``: AWS).
    ``account`` is the one that must own the bucket. Credentials are taken from where AWS's own tools take them.
    ``shards`` are hosts of shards that functions reach.
    """

    bucket: str
    function: str
    region: str
    prefix: str = "cirrus"
    endpoint_url: str | None = None
    s3_endpoint_url: str | None = None
    account: str | None = None
    shards: ShardHosts | None = None

    def __post_init__(self) -> None:
        if not _FUNCTION.fullmatch(self.function):
            allowed = "a function's name of letters, digits, dashes and underscores, perhaps followed by :alias"
            raise PipelineError("aws.function", self.function, allowed)
        for endpoint in (self.endpoint_url, self.s3_endpoint_url):
            S3Address(self.bucket, self.prefix, self.region, endpoint, self.account)

    @property
    def address(self) -> S3Address:
        """Where the objects are."""
        return S3Address(self.bucket, self.prefix, self.region, self.s3_endpoint_url, self.account)

    @property
    def url(self) -> str:
        """The object store's URL."""
        return self.address.url

    @property
    def policy(self) -> PoolPolicy:
        """How patient the pools of workers are here."""
        return PoolPolicy(start_deadline=START)

    def open(self) -> ObjectStore:
        """The object store, as the driver uses it; the caller has to close it."""
        return open_store(self.url)

    @property
    def lambda_function(self) -> LambdaFunction:
        """The function whose invocations are workers."""
        return LambdaFunction(name=self.function, region=self.region, endpoint_url=self.endpoint_url)

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:  # noqa: ARG002  no processes
        """What starts workers, as invocations of the function."""
        from cirrus.cloud.lambda_invoker import LambdaInvoker  # noqa: PLC0415  not with the package

        self.check_reach()
        return LambdaInvoker(self.lambda_function, clock)

    def reached(self, shards: tuple[str, ...], side: Side) -> tuple[str, ...]:  # noqa: ARG002  all see the same
        """The base URLs by which the driver, or workers, reach the shards."""
        return shards

    def check_reach(self) -> None:
        """``PipelineError`` where workers could not reach shards that the driver's machine has."""
        if self.shards is not None:
            return
        if self.endpoint_url is None or not is_loopback(self.endpoint_url):
            allowed = "a server on this machine, or shards= with hosts that functions reach"
            raise PipelineError("aws.endpoint_url", self.endpoint_url, allowed)


def aws(  # noqa: PLR0913  each may be named, and has to be where there is no default
    *,
    bucket: str,
    function: str,
    region: str,
    prefix: str = "cirrus",
    endpoint_url: str | None = None,
    s3_endpoint_url: str | None = None,
    account: str | None = None,
    shards: ShardHosts | Sequence[str] | None = None,
) -> Aws:
    """Run on AWS Lambda, and keep the objects below ``prefix`` of ``bucket``; it costs money.

    ``cirrus deploy`` makes the function. ``endpoint_url`` and ``s3_endpoint_url`` name other servers that speak as
    Lambda and S3 do. ``account`` is the 12 digits of the account that must own the bucket. ``shards`` are hosts for the
    shards: URLs as ``wss://host:port`` of running ones, ``ServedShards`` or ``Ec2Shards``.
    """
    return Aws(
        bucket=bucket, function=function, region=region, prefix=prefix, endpoint_url=endpoint_url,
        s3_endpoint_url=s3_endpoint_url, account=account, shards=shard_hosts(shards),
    )  # fmt: skip
