"""The port to workers: what starts one, what it is told, and how its end is learnt of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from cirrus.clock import Clock
from cirrus.core.ids import WorkerId
from cirrus.core.slots import PoolPolicy
from cirrus.core.terms import Terms
from cirrus.errors import InvokeError
from cirrus.store.base import ObjectStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cirrus.cloud.hosts import ShardHosts

Role = Literal["prepare", "train", "evaluate", "measure"]
Side = Literal["driver", "worker"]


@dataclass(frozen=True, slots=True)
class Assignment:
    """All that a worker is given: who it is, where to connect, and a token for exactly that.

    ``shards`` are base URLs (``http://127.0.0.1:4711``), the first of them grants leases. ``store`` opens the object
    store. ``memory`` is in MB, ``timeout`` in seconds from the start. ``ca`` is the PEM text of the only authority that
    is trusted to have signed the certificates at ``https://`` URLs of shards.
    """

    run_id: str
    epoch: int
    worker: WorkerId
    role: Role
    shards: tuple[str, ...]
    store: str
    token: str = field(repr=False)
    memory: int
    timeout: float
    ca: str = ""


Cause = Literal["finished", "crashed", "killed", "memory", "timeout"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a worker ended, where the provider can tell. ``detail`` is a sentence with the evidence.

    ``alone``: the provider knows that no other delivery of the same worker was running then.
    """

    worker: WorkerId
    cause: Cause
    detail: str
    seconds: float
    alone: bool = False


class Unreached(InvokeError):
    """The provider could not be reached: the request surely did not arrive, and may be sent again."""


class Invoker(Protocol):
    """Starts workers: at least once, perhaps twice, perhaps never. Correctness never rests on it."""

    async def terms(self) -> Terms:
        """What workers cost and how they are limited; ``InvokeError``, ``PipelineError`` where none are to be had."""
        ...

    async def invoke(self, assignment: Assignment) -> None:
        """Ask for a worker and return when the request is accepted; ``InvokeError``, ``Throttled``."""
        ...

    async def stop(self, worker: WorkerId) -> None:
        """End a worker where the provider can; otherwise do nothing."""
        ...

    def exits(self) -> AsyncIterator[Exit]:
        """Ends of workers as they are learnt of, until ``close``."""
        ...

    async def watch(self) -> None:
        """Do what has to be done from time to time, until ``close``: whoever owns the invoker runs this as a task."""
        ...

    async def close(self) -> None:
        """End all workers and let go of everything."""
        ...


@runtime_checkable
class Place(Protocol):
    """Where a run takes place, as a frozen value."""

    @property
    def url(self) -> str:
        """The object store's URL."""
        ...

    @property
    def policy(self) -> PoolPolicy:
        """How patient the pools of workers are here."""
        ...

    @property
    def shards(self) -> ShardHosts | None:
        """The hosts of the shards; ``None``: the driver's machine."""
        ...

    def open(self) -> ObjectStore:
        """The object store, as the driver uses it; the caller has to close it."""
        ...

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        """What starts workers; where they are processes, each as ``command``, with ``grace`` seconds to leave."""
        ...

    def reached(self, shards: tuple[str, ...], side: Side) -> tuple[str, ...]:
        """The base URLs by which the driver, or workers, reach the shards that listen at these."""
        ...
