"""Hosts that serve shards, as a run's driver dials them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from cirrus.errors import PipelineError

if TYPE_CHECKING:
    from cirrus.clock import Clock
    from cirrus.cloud.certificates import Authority
    from cirrus.core.cost import Meter


@dataclass(frozen=True, slots=True)
class Host:
    """A host that answers at ``https://address:port``, shows a certificate of ``ca`` (PEM), and knows ``secret``.

    ``name`` is what the certificate calls it, where that is not its address.
    """

    address: str
    port: int
    ca: str
    secret: bytes = field(repr=False)
    name: str | None = None

    @property
    def url(self) -> str:
        """The base of its URLs."""
        return base_url(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Lodger:
    """Who asks for hosts: the run, which time it was taken, and where its objects are."""

    run_id: str
    epoch: int
    store: str


@runtime_checkable
class ShardHosts(Protocol):
    """Hosts on which a run's shards live in place of the driver's machine, as a frozen value."""

    def hosting(
        self, lodger: Lodger, clock: Clock, meter: Meter
    ) -> AbstractAsyncContextManager[Callable[[], Awaitable[Sequence[Host]]]]:
        """Gives a way to ask for hosts, once, which takes its time; whatever comes, they are let go of with the block.

        What they cost goes to ``meter``.
        """
        ...


def base_url(address: str, port: int) -> str:
    """The base of URLs at that address."""
    return f"https://[{address}]:{port}" if ":" in address else f"https://{address}:{port}"


def new_authority(name: str, now: float, days: float) -> Authority:
    """An authority of one's own, made now; ``PipelineError`` where the package for that is not installed."""
    try:
        from cirrus.cloud.certificates import Authority  # noqa: PLC0415  an extra
    except ImportError:
        allowed = "with the package cryptography: pip install 'cirrus-serverless[shards]'"
        raise PipelineError("shards", "on other hosts", allowed) from None
    return Authority(name, now, days)
