"""Hosts for shards that are there already, each with ``cirrus shard serve``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cirrus import checks
from cirrus.cloud.hosts import Host, Lodger, ShardHosts
from cirrus.errors import OutsideError, PipelineError
from cirrus.store.aside import aside
from cirrus.store.s3_address import is_loopback

if TYPE_CHECKING:
    from cirrus.clock import Clock
    from cirrus.core.cost import Meter

SECRET = "CIRRUS_SHARD_SECRET"  # noqa: S105  the variable's name
CA = "CIRRUS_SHARD_CA"
PORT = 7443
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class ServedShards:
    """Shards on the hosts at ``urls`` (``wss://host:port``), in turn; the hosts stay when the run is over.

    ``secret`` is the one that they all know (``None``: that of the environment's ``CIRRUS_SHARD_SECRET``). ``ca`` is a
    file with the certificates, PEM, of those that may have signed theirs (``None``: that of ``CIRRUS_SHARD_CA``).
    """

    urls: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)
    ca: Path | str | None = None

    def __post_init__(self) -> None:
        checks.texts("shards", self.urls)
        if not self.urls:
            raise PipelineError("shards", self.urls, "one host or more, as wss://host:port")
        for url in self.urls:
            _split(url)

    @asynccontextmanager
    async def hosting(
        self, lodger: Lodger, clock: Clock, meter: Meter  # noqa: ARG002  they cost what they cost, used or not
    ) -> AsyncIterator[Callable[[], Awaitable[Sequence[Host]]]]:
        """The hosts as they are."""

        async def found() -> Sequence[Host]:
            return hosts

        secret = self.secret or os.environ.get(SECRET, "")
        if len(secret) < SHORTEST:
            given = "a short one" if secret else "none"
            raise PipelineError("shards.secret", given, f"the secret that the hosts know, or {SECRET}")
        file = self.ca or os.environ.get(CA)
        if not file:
            raise PipelineError("shards.ca", None, f"a file with the hosts' authority, or {CA}")
        places = [_split(url) for url in self.urls]
        if lodger.store.startswith("file:") and not all(is_loopback(f"https://{one}:1") for one, _ in places):
            raise PipelineError("store", lodger.store, "a store that the hosts of shards reach, such as s3://bucket")
        ca = await aside(lambda: _text(Path(file)))
        hosts = tuple(Host(address, port, ca, secret.encode()) for address, port in places)
        yield found


def shard_hosts(shards: ShardHosts | Sequence[str] | None) -> ShardHosts | None:
    """What a place is told of shards as a value: URLs are those of hosts that are there; ``PipelineError``."""
    if shards is None or isinstance(shards, ShardHosts):
        return shards
    if isinstance(shards, str):
        raise PipelineError("shards", shards, "a list of URLs of hosts, as wss://host:port")
    return ServedShards(tuple(shards))


def _split(url: str) -> tuple[str, int]:
    """Host and port; ``PipelineError`` for what is no URL of a host."""
    allowed = "wss://host:port"
    try:
        parts = urlsplit(url)
        port = parts.port or PORT
    except ValueError:
        raise PipelineError("shards", url, allowed) from None
    bare = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme != "wss" or not parts.hostname or not bare:
        raise PipelineError("shards", url, allowed)
    return parts.hostname, port


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise OutsideError(f"{file}: the certificate of the shards' authority cannot be read: {error}") from error
