"""Where a run takes place: frozen values; what a pipeline does is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cirrus.clock import Clock
from cirrus.cloud.base import Invoker, Side
from cirrus.cloud.hosts import ShardHosts
from cirrus.cloud.local import LocalInvoker
from cirrus.cloud.served import shard_hosts
from cirrus.core.slots import PoolPolicy
from cirrus.store.base import ObjectStore
from cirrus.store.opening import open_store


@dataclass(frozen=True, slots=True)
class Local:
    """Workers and shards as processes of this machine, objects as files below the folder ``store``: free.

    ``None`` is the folder ``.cirrus`` in the user's home; a URL such as ``s3://bucket/prefix`` is another store.
    ``shards`` are hosts on which shards live in place of this machine.
    """

    store: Path | str | None = None
    shards: ShardHosts | None = field(default=None, kw_only=True)

    @property
    def url(self) -> str:
        """The object store's URL."""
        if isinstance(self.store, str) and "://" in self.store:
            return self.store
        folder = Path.home() / ".cirrus" if self.store is None else Path(self.store)
        return folder.absolute().as_uri()

    @property
    def policy(self) -> PoolPolicy:
        """How patient the pools of workers are here."""
        return PoolPolicy()

    def open(self) -> ObjectStore:
        """The object store, as the driver uses it; the caller has to close it."""
        return open_store(self.url)

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        """What starts workers: each as ``command``, with ``grace`` seconds to leave when it is told to."""
        return LocalInvoker(command, clock, grace)

    def reached(self, shards: tuple[str, ...], side: Side) -> tuple[str, ...]:  # noqa: ARG002  here all see the same
        """The base URLs by which the driver, or workers, reach the shards that listen at these."""
        return shards


def local(store: str | Path | None = None, *, shards: ShardHosts | Sequence[str] | None = None) -> Local:
    """Run on this machine, and keep the objects in ``store``: a folder (default: ``~/.cirrus``) or a store's URL.

    ``shards`` are hosts for the shards: URLs as ``wss://host:port`` of running ones, ``ServedShards`` or ``Ec2Shards``.
    """
    return Local(store, shards=shard_hosts(shards))
