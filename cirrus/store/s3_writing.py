"""What is to be written to S3, on which condition, and how a write of ours is known again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cirrus.errors import Conflict

NONCE = "cirrus-write"
"""The name of the metadata in which each write carries a number of its own."""


@dataclass(frozen=True, slots=True)
class Whatever:
    """Write over what may be there."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Write where nothing is."""


@dataclass(frozen=True, slots=True)
class Exactly:
    """Write over the object with that ETag."""

    etag: str


Expected = Whatever | Nothing | Exactly


@dataclass(frozen=True, slots=True)
class Write:
    """One write, however often it has to be sent. ``key`` is the caller's; ``nonce`` tells it from all others."""

    key: str
    data: bytes | memoryview
    expected: Expected
    nonce: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def metadata(self) -> dict[str, str]:
        """What the object carries besides its bytes."""
        return {NONCE: self.nonce}

    @property
    def condition(self) -> dict[str, str]:
        """The request's parameters that make it conditional."""
        match self.expected:
            case Whatever():
                return {}
            case Nothing():
                return {"IfNoneMatch": "*"}
            case Exactly(etag):
                return {"IfMatch": f'"{etag}"'}


@dataclass(frozen=True, slots=True)
class Seen:
    """An object that was found: its size in bytes, ETag, and the number of the write that made it, or an empty text."""

    size: int
    etag: str
    nonce: str


class Unsettled(Exception):
    """A write was refused, and yet its condition holds: it is to be tried again."""


def settled(write: Write, seen: Seen | None) -> str:
    """The ETag of a refused write that has reached the server all the same, as ``seen`` shows; else ``Conflict``.

    ``Unsettled`` where nothing stands against trying again. Without it a write whose answer was lost would be taken
    for somebody else's.
    """
    if seen is not None and seen.nonce == write.nonce:
        return seen.etag
    match write.expected:
        case Nothing() if seen is not None:
            raise Conflict(write.key, "there is one already")
        case Exactly(etag) if seen is None or seen.etag != etag:
            raise Conflict(write.key, f"it is not, or no longer, {etag}")
        case _:
            raise Unsettled
