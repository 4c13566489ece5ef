"""Where objects on S3 are, as a frozen value and as a URL; nothing here talks to a server."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from cirrus.errors import PipelineError, StoreError
from cirrus.store.keys import checked

SCHEME = "s3://"
ALLOWED = "s3://bucket/prefix?endpoint=https://host&region=name&owner=account, without credentials"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_OWNER = re.compile(r"[0-9]{12}")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
_PARTS = ("endpoint", "region", "owner")
_METADATA = ipaddress.ip_address("fd00:ec2::254")
_ENDPOINT = "http:// or https:// and a host that is no link-local or metadata address, without user, path and query"


@dataclass(frozen=True, slots=True)
class S3Address:
    """A bucket, a prefix of its keys, and how to reach it; ``PipelineError`` names what cannot be.

    ``endpoint`` is the URL of the server, ``None`` for AWS. ``owner`` is the account that the bucket must belong to.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint: str | None = None
    owner: str | None = None

    def __post_init__(self) -> None:
        _must_match("store.bucket", self.bucket, _BUCKET, "3 to 63 lower-case letters, digits, dots and dashes")
        if self.prefix:
            try:
                checked(self.prefix)
            except StoreError as error:
                raise PipelineError("store.prefix", self.prefix, f"a key; {error.problem}") from error
        if self.region is not None:
            _must_match("store.region", self.region, _REGION, "a region's name, as eu-central-1")
        if self.endpoint is not None:
            _check_endpoint(self.endpoint)
        if self.owner is not None:
            _must_match("store.owner", self.owner, _OWNER, "an account's 12 digits")

    @classmethod
    def parse(cls, url: str) -> S3Address:
        """The address that ``url`` stands for; ``PipelineError`` does not repeat what may be a secret."""
        try:
            parts = urlsplit(url)
            given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError:
            raise PipelineError("store", _shown(url), ALLOWED) from None
        known = given.keys() <= set(_PARTS) and len(given) == len(parts.query.split("&") if parts.query else ())
        if parts.scheme != "s3" or "@" in parts.netloc or parts.fragment or not known or "" in given.values():
            raise PipelineError("store", _shown(url), ALLOWED)
        prefix = unquote(parts.path).removeprefix("/").removesuffix("/")
        return cls(parts.netloc, prefix, **{name: given.get(name) for name in _PARTS})

    @property
    def url(self) -> str:
        """``s3://bucket/prefix?endpoint=...&region=...&owner=...``; what is not known is left out."""
        known = {name: value for name in _PARTS if (value := getattr(self, name)) is not None}
        path = f"/{quote(self.prefix)}" if self.prefix else ""
        return f"{SCHEME}{self.bucket}{path}" + (f"?{urlencode(known)}" if known else "")

    def key(self, name: str) -> str:
        """The key in the bucket of the object that is called ``name`` below the prefix."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def resolved(self, environment: Mapping[str, str]) -> S3Address:
        """The same with endpoint and region as AWS's own tools take them from the environment, where they are open.

        So the address means the same in a process with another environment.
        """
        endpoint = None
        if environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() != "true":
            endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or None
        return replace(self, endpoint=self.endpoint or endpoint, region=self.region or region)


def is_loopback(endpoint: str) -> bool:
    """Whether the endpoint is on this machine, as far as its name tells."""
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        _ = parts.port
    except ValueError:
        raise PipelineError("store.endpoint", _shown(endpoint), _ENDPOINT) from None
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme not in {"http", "https"} or not bare or not _reachable(parts.hostname or ""):
        raise PipelineError("store.endpoint", _shown(endpoint), _ENDPOINT)


def _reachable(host: str) -> bool:
    """Whether a server may be there: not where a cloud hands out credentials, however that address is written."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and not _NUMERIC.fullmatch(host.rpartition(".")[2] or host)
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return not (address.is_link_local or address.is_multicast or address == _METADATA)


def _must_match(field: str, value: object, pattern: re.Pattern[str], allowed: str) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PipelineError(field, value, allowed)


def _shown(url: str) -> str:
    """The URL as far as it cannot hold a secret."""
    before, _, after = url.partition("://")
    place = re.split(r"[?#]", after, maxsplit=1)[0]
    return f"{before}://{place.rpartition('@')[2]}" + ("?..." if place != after else "") if after else "(no URL)"
