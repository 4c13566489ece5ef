"""Hosts for shards that a run starts on EC2, and ends."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cirrus import checks
from cirrus.cloud.hosts import Host, Lodger
from cirrus.cloud.prices import read_prices
from cirrus.cloud.served import PORT
from cirrus.errors import PipelineError
from cirrus.store.aside import aside
from cirrus.store.s3_address import S3Address

if TYPE_CHECKING:
    from cirrus.clock import Clock
    from cirrus.core.cost import Meter
    from cirrus.core.rents import Rents

RUN, STORE, EPOCH, NUMBER = "cirrus-run", "cirrus-store", "cirrus-epoch", "cirrus-host"
IMAGE = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ec2Shards:
    """``count`` hosts of a type that a run starts, and ends when it is done, has failed or is parked.

    They run Amazon Linux 2023 (``image``: another that has ``dnf``) in ``subnet``, with ``security_groups`` that let
    drivers and functions come to ``port`` and the ``shards`` ports that follow, and with the rights of the instance
    profile ``profile`` to the run's store. ``packages`` is what pip installs there (``None``: this version of cirrus).
    A host ends by itself when nobody has spoken for ``idle`` seconds. It is reached by its ``address``.
    """

    count: int
    region: str
    instance_type: str = "m5.large"
    profile: str | None = None
    subnet: str | None = None
    security_groups: tuple[str, ...] = ()
    image: str | None = None
    address: Literal["public", "private"] = "public"
    port: int = PORT
    shards: int = 8
    idle: float = 3600.0
    packages: tuple[str, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    endpoint_url: str | None = None

    def __post_init__(self) -> None:
        checks.integer("shards.count", self.count, 1, 1000)
        checks.text("shards.region", self.region)
        checks.text("shards.instance_type", self.instance_type)
        checks.texts("shards.security_groups", self.security_groups)
        checks.one_of("shards.address", self.address, ("public", "private"))
        checks.integer("shards.port", self.port, 1, 65_000)
        checks.integer("shards.shards", self.shards, 1, 500)
        checks.within("shards.idle", self.idle, 10.0, 86_400.0)

    @property
    def image_id(self) -> str:
        """The image that hosts begin with."""
        return self.image or IMAGE + _architecture(self.instance_type)

    @asynccontextmanager
    async def hosting(
        self, lodger: Lodger, clock: Clock, meter: Meter
    ) -> AsyncIterator[Callable[[], Awaitable[Sequence[Host]]]]:
        """Start the hosts when they are asked for; all of the run's end with the block."""
        if not lodger.store.startswith("s3:"):
            raise PipelineError("store", lodger.store, "a store that the hosts of shards reach, as s3://bucket")
        prices = await aside(lambda: read_prices(self.region))
        price = prices.host(self.instance_type)
        hosts = await aside(lambda: importlib.import_module("cirrus.cloud.ec2_hosts"))  # and with it the SDK
        async with hosts.rented(self, lodger, Till(clock, meter.rents, price)) as found:
            yield found


@dataclass(frozen=True, slots=True)
class Till:
    """Where rents go: hosts cost ``price`` dollars for an hour."""

    clock: Clock
    rents: Rents
    price: float


def run_tags(lodger: Lodger) -> dict[str, str]:
    """By which tags a run's hosts are known."""
    return {RUN: lodger.run_id, STORE: store_tag(lodger.store)}


def store_tag(store: str) -> str:
    """A store as a tag, which cannot have all characters of a URL; the same by whichever endpoint it is reached."""
    address = S3Address.parse(store)
    return hashlib.sha256(f"{address.bucket}/{address.prefix}".encode()).hexdigest()[:32]


def _architecture(instance_type: str) -> str:
    """What processors of that type are: those whose family has a g behind its number are Graviton's."""
    family = instance_type.partition(".")[0].lstrip("abcdefghijklmnopqrstuvwxyz")
    return "arm64" if "g" in family or instance_type.startswith("a1.") else "x86_64"
