"""Who may speak to a shard: short-lived signed claims, one token for exactly one worker, driver or viewer.

A token is ``<claims>.<signature>``, both base64 in the URL alphabet without padding: the claims are JSON, the signature
is HMAC-SHA-256 of the first part under the run's key. The signature is compared before the claims are read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from cirrus.errors import Refused

Role = Literal["worker", "driver", "viewer"]

LEEWAY = 300.0
"""Seconds by which the clocks of two machines may differ."""

_ROLES = frozenset(get_args(Role))
_LONGEST = 2048


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says: the run and its epoch, the role, the worker's pool, slot and attempt, and until when.

    ``expiry`` is in seconds since the Unix epoch. Drivers and viewers have an empty pool, slot 0 and attempt 0.
    """

    run: str
    epoch: int
    role: Role
    pool: str
    slot: int
    attempt: int
    expiry: float


def issue(key: bytes, claims: Claims) -> str:
    """Sign the claims with the run's key; the token is safe in headers and URLs."""
    body = _armour(json.dumps(asdict(claims), separators=(",", ":"), sort_keys=True).encode())
    return f"{body}.{_sign(key, body)}"


def verify(key: bytes, token: str, now: float, leeway: float = LEEWAY) -> Claims:
    """The claims of a token that this key signed and that has not expired at ``now``; ``Refused`` for any other.

    The refusal says the same whatever is wrong, so that it teaches nothing to who tries.
    """
    body, dot, signature = token.partition(".")
    if not dot or len(token) > _LONGEST or not token.isascii():
        raise _refusal()
    if not hmac.compare_digest(_sign(key, body), signature):
        raise _refusal()
    claims = _read(body)
    if not now <= claims.expiry + leeway:
        raise _refusal()
    return claims


def _refusal() -> Refused:
    return Refused("the token is not accepted")


def _sign(key: bytes, body: str) -> str:
    return _armour(hmac.digest(key, body.encode(), hashlib.sha256))


def _armour(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _read(body: str) -> Claims:
    try:
        found = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        claims = Claims(**found)
    except (ValueError, TypeError, RecursionError, binascii.Error) as error:
        raise _refusal() from error
    whole = (claims.epoch, claims.slot, claims.attempt)
    texts = (claims.run, claims.role, claims.pool)
    if not all(type(one) is str for one in texts) or claims.role not in _ROLES:
        raise _refusal()
    if not all(type(one) is int for one in whole) or type(claims.expiry) not in (int, float):
        raise _refusal()
    return claims
