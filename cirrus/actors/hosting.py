"""What a run's driver and a host that serves shards say to each other.

The driver dials ``/shard`` on the host with a token signed with the host's secret, says ``OpenShard`` and then listens:
``Up`` whenever the shard answers, ``Down`` when it does not any more. ``POST /shard/end`` with ``EndShard`` ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from cirrus import checks
from cirrus.clock import Clock
from cirrus.wire.codec import Codec
from cirrus.wire.tokens import Claims, issue

TOKEN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class OpenShard:
    """Have that shard of the run, which may be here already; ``key`` (hexadecimal) signs the run's tokens.

    ``port``: where it was before, 0 if nowhere. ``restore``: begin with the newest snapshot. The shard shows
    ``certificate`` (PEM), whose key is ``private_key``.
    """

    run_id: str
    epoch: int
    key: str = field(repr=False)
    shard: int
    shards: int
    store: str
    restore: bool
    port: int
    certificate: str
    private_key: str = field(repr=False)

    def __post_init__(self) -> None:
        checks.name("run_id", self.run_id)
        checks.integer("epoch", self.epoch, 0, 2**31)
        checks.integer("shards", self.shards, 1, 4096)
        checks.integer("shard", self.shard, 0, self.shards - 1)
        checks.integer("port", self.port, 0, 65535)
        bytes.fromhex(self.key)


@dataclass(frozen=True, slots=True)
class EndShard:
    """End that shard of the run, with a snapshot, unless it has ended."""

    run_id: str
    shard: int


@dataclass(frozen=True, slots=True)
class Up:
    """The shard answers at that port; ``reason``: why it was started again, empty if it was not."""

    port: int
    pid: int
    skipped: tuple[tuple[str, str], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Down:
    """The shard does not answer and is not started again."""

    problem: str


OPEN: Codec[OpenShard] = Codec(OpenShard)
END: Codec[EndShard] = Codec(EndShard)
NEWS: Codec[Up | Down] = Codec(Up | Down)


def bearer(secret: bytes, clock: Clock, run_id: str, epoch: int) -> dict[str, str]:
    """The header by which a run's driver is let in where that secret is known."""
    claims = Claims(
        run=run_id, epoch=epoch, role="driver", pool="", slot=0, attempt=0, expiry=clock.wall() + TOKEN_SECONDS
    )
    return {"Authorization": f"Bearer {issue(secret, claims)}"}
