"""Who signed a request to the API, and whether the signature is good."""

from __future__ import annotations

import hmac
import re
from calendar import timegm
from datetime import datetime
from urllib.parse import quote

from aiohttp import web

from cirrus.emulator.refusals import Refusal
from cirrus.store.sigv4 import ALGORITHM, STAMP, Credentials, Scope, Signed, sha256, signature

SKEW = 300.0
"""Seconds by which the clocks of client and server may differ."""

SERVICE = "lambda"
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=([^/, ]+)/(\d{{8}})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, ?"
    r"SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)


def check_signature(request: web.Request, body: bytes, credentials: Credentials, now: float) -> None:
    """Let nobody pass who does not know the secret key; ``Refusal`` as AWS words it. ``now`` is the Unix time."""
    found = _AUTHORIZATION.fullmatch(request.headers.get("Authorization", ""))
    stamp = request.headers.get("X-Amz-Date", "")
    if found is None:
        raise Refusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token")
    key, day, region, service, names, given = found.groups()
    token = request.headers.get("X-Amz-Security-Token")
    if key != credentials.access_key or token != credentials.token:
        raise Refusal(403, "UnrecognizedClientException", "The security token included in the request is invalid.")
    if service != SERVICE or not stamp.startswith(day) or "host" not in names.split(";"):
        raise _bad("Credential should be scoped to correct service, and the host be signed.")
    if abs(now - _seconds(stamp)) > SKEW:
        raise _bad(f"Signature expired or not yet current: {stamp}")
    signed = Signed(
        method=request.method,
        path=quote(request.rel_url.raw_path, safe="/-_.~"),
        query=request.rel_url.raw_query_string,
        headers={name: ",".join(request.headers.getall(name, ())) for name in names.split(";")},
        payload=sha256(body),
    )
    if not hmac.compare_digest(signature(signed, Scope(stamp, region, service), credentials.secret_key), given):
        raise _bad("The request signature we calculated does not match the signature you provided.")


def _seconds(stamp: str) -> float:
    try:
        return timegm(datetime.strptime(stamp, STAMP).timetuple())  # noqa: DTZ007  a stamp is always UTC
    except ValueError:
        raise _bad("Date must be in ISO-8601 'basic format'.") from None


def _bad(message: str) -> Refusal:
    return Refusal(403, "InvalidSignatureException", message)
