"""AWS's signature version 4, from either side: what a client signs and a server computes again."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A pair of keys, and the session's token where they are temporary."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Scope:
    """For what a signature is good: when (``20260131T235959Z``), in which region, for which service."""

    stamp: str
    region: str
    service: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Day, region, service and a constant."""
        return self.stamp[:8], self.region, self.service, "aws4_request"

    @property
    def text(self) -> str:
        """The parts as the header ``Authorization`` has them."""
        return "/".join(self.parts)


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a request that are signed.

    ``path`` and ``query`` are percent-encoded, the path once more than on the wire for all services but S3; ``headers``
    have names in lower case; ``payload`` is the body's SHA-256 in hexadecimal, or ``UNSIGNED``.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    payload: str

    @property
    def names(self) -> str:
        """Which headers are signed."""
        return ";".join(sorted(self.headers))


def signature(request: Signed, scope: Scope, secret_key: str) -> str:
    """The signature in hexadecimal."""
    lines = [f"{name}:{' '.join(request.headers[name].split())}" for name in sorted(request.headers)]
    query = "&".join(sorted(request.query.split("&")))
    canonical = "\n".join((request.method, request.path, query, *lines, "", request.names, request.payload))
    text = "\n".join((ALGORITHM, scope.stamp, scope.text, sha256(canonical.encode())))
    key = b"AWS4" + secret_key.encode()
    for part in scope.parts:
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def authorization(request: Signed, scope: Scope, credentials: Credentials) -> str:
    """The header ``Authorization``."""
    return (
        f"{ALGORITHM} Credential={credentials.access_key}/{scope.text}, SignedHeaders={request.names}, "
        f"Signature={signature(request, scope, credentials.secret_key)}"
    )


def sha256(data: bytes | memoryview) -> str:
    """The SHA-256 of ``data`` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
