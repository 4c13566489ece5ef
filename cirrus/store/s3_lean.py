"""A client of one S3 server without AWS's SDK: requests signed here, over aiohttp. Workers in functions use it.

Credentials come from the environment, where a function finds its role's; they are read with every request.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree.ElementTree import Element, ParseError

import aiohttp
from yarl import URL

from cirrus.errors import StoreError
from cirrus.store.patience import Patience
from cirrus.store.s3_address import S3Address, is_loopback
from cirrus.store.s3_body import Body
from cirrus.store.s3_requests import Fault, Request, Requests, answered
from cirrus.store.s3_writing import NONCE
from cirrus.store.s3_xml import completion, parsed, text
from cirrus.store.sigv4 import STAMP, UNSIGNED, Credentials, Scope, Signed, authorization, sha256

CONNECTIONS = 32
CONNECT_SECONDS = 5.0
EMPTY = sha256(b"")

METHODS = {
    "GetObject": "GET",
    "HeadObject": "HEAD",
    "PutObject": "PUT",
    "DeleteObject": "DELETE",
    "ListObjectsV2": "GET",
    "CreateMultipartUpload": "POST",
    "UploadPart": "PUT",
    "CompleteMultipartUpload": "POST",
    "AbortMultipartUpload": "DELETE",
}
HEADERS = {"Range": "range", "IfMatch": "if-match", "IfNoneMatch": "if-none-match"}
QUERY = {
    "Prefix": "prefix", "ContinuationToken": "continuation-token", "UploadId": "uploadId", "PartNumber": "partNumber",
}  # fmt: skip
ALWAYS = {
    "ListObjectsV2": {"list-type": "2", "encoding-type": "url"},  # XML has no way to write every character of a key
    "CreateMultipartUpload": {"uploads": ""},
}


class Answered(Exception):
    """The server has sent an error: its status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code


def new_session() -> ssl.SSLContext:
    """What has to be loaded from files, which blocks: the certificates of the authorities."""
    return ssl.create_default_context()


class S3Client(Requests):
    """Requests to one server; made by ``open``, to be closed."""

    foreign = (Answered, ParseError, aiohttp.ClientError, OSError, TimeoutError)

    def __init__(self, session: aiohttp.ClientSession, address: S3Address, patience: Patience) -> None:
        super().__init__(address, patience)
        self._session = session
        self._region = address.region or "us-east-1"
        self._base, self._root = base(address, self._region)
        plain = self._base.startswith("http://")
        self._hashed = plain and not is_loopback(self._base)  # else TLS, or nobody, stands in between

    @classmethod
    async def open(cls, certificates: ssl.SSLContext, address: S3Address, patience: Patience) -> S3Client:
        """Connect lazily to the address."""
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_SECONDS, sock_read=patience.silence)
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, ssl=certificates)
        session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        return cls(session, address, patience)

    async def close(self) -> None:
        await self._session.close()

    async def _call(self, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        parts = parameters.get("MultipartUpload")
        body: bytes | memoryview = parameters.get("Body", b"") if parts is None else completion(parts["Parts"])
        path = self._root
        if operation != "ListObjectsV2":
            path += "/" + quote(self._address.key(key), safe="/-_.~")
        query = _query({**ALWAYS.get(operation, {}), **_named(parameters, QUERY)})
        headers = dict(_headers(parameters, body, self._address.owner))
        signed = self._signed(Signed(METHODS[operation], path or "/", query, headers, self._payload(body)), key)
        url = URL(f"{self._base}{path or '/'}" + (f"?{query}" if query else ""), encoded=True)
        sent = Body(body) if body else None
        request = self._session.request(METHODS[operation], url, data=sent, headers=signed, allow_redirects=False)
        async with request as response:
            data = await response.read()
            if response.status >= 300:
                raise _error(response.status, data)
            return _answer(operation, response.headers, data)

    def _payload(self, body: bytes | memoryview) -> str:
        if not body:
            return EMPTY
        return sha256(body) if self._hashed else UNSIGNED

    def _signed(self, request: Signed, key: str) -> dict[str, str]:
        """The headers with all that makes the request ours."""
        credentials = _credentials(os.environ, key)
        stamp = datetime.fromtimestamp(self._patience.clock.wall(), UTC).strftime(STAMP)
        headers = {
            **request.headers,
            "host": urlsplit(self._base).netloc,
            "x-amz-date": stamp,
            "x-amz-content-sha256": request.payload,
        }
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        whole = Signed(request.method, request.path, request.query, headers, request.payload)
        scope = Scope(stamp, self._region, "s3")
        return {**headers, "authorization": authorization(whole, scope, credentials)}

    def _fault_of(self, error: Exception, request: Request) -> Fault:
        if isinstance(error, Answered):
            return answered(error.code, error.status, str(error), request, self._address)
        problem = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientSSLError):
            return Fault("final", f"the server's certificate is not accepted: {problem}")
        return Fault("again", problem)


def base(address: S3Address, region: str) -> tuple[str, str]:
    """The server's URL, and the path at which the bucket begins: at its root where it has a host of its own."""
    if address.endpoint is not None:
        return address.endpoint.rstrip("/"), f"/{address.bucket}"
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    if "." in address.bucket:  # the certificate is good for one label
        return f"https://s3.{region}.{domain}", f"/{address.bucket}"
    return f"https://{address.bucket}.s3.{region}.{domain}", ""


def _credentials(environment: Mapping[str, str], key: str) -> Credentials:
    missing = [name for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environment.get(name)]
    if missing:
        raise StoreError(key, f"no AWS credentials: the environment has no {' and no '.join(missing)}")
    keys = (environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    return Credentials(*keys, environment.get("AWS_SESSION_TOKEN") or None)


def _query(values: Mapping[str, object]) -> str:
    return "&".join(f"{name}={quote(str(values[name]), safe='-_.~')}" for name in sorted(values))


def _named(parameters: Mapping[str, object], names: Mapping[str, str]) -> dict[str, object]:
    return {theirs: parameters[ours] for ours, theirs in names.items() if ours in parameters}


def _headers(parameters: Mapping[str, Any], body: bytes | memoryview, owner: str | None) -> Iterator[tuple[str, str]]:
    for name, value in _named(parameters, HEADERS).items():
        yield name, str(value)
    for name, value in parameters.get("Metadata", {}).items():
        yield f"x-amz-meta-{name}", value
    if owner:
        yield "x-amz-expected-bucket-owner", owner
    if body:
        yield "content-type", "application/octet-stream"


def _error(status: int, data: bytes) -> Answered:
    """An answer to a HEAD request has no body: its status is its code."""
    try:
        found = parsed(data)
    except ParseError:
        return Answered(status, str(status), "")
    return Answered(status, text(found, "Code") or str(status), text(found, "Message"))


def _answer(operation: str, headers: Mapping[str, str], data: bytes) -> dict[str, Any]:
    """The answer as AWS's SDK names its parts."""
    read: dict[str, Callable[[Element], dict[str, Any]]] = {
        "ListObjectsV2": _page,
        "CreateMultipartUpload": lambda found: {"UploadId": text(found, "UploadId")},
        "CompleteMultipartUpload": _completed,
    }
    if operation in read:
        return read[operation](parsed(data))
    if operation == "GetObject":
        return {"Body": data}
    answer: dict[str, Any] = {"ETag": headers.get("ETag", ""), "ContentLength": int(headers.get("Content-Length", 0))}
    nonce = headers.get(f"x-amz-meta-{NONCE}")
    return {**answer, "Metadata": {} if nonce is None else {NONCE: nonce}}


def _completed(found: Element) -> dict[str, Any]:
    """The end of an upload may be an error although its status, which was sent before, is 200."""
    if found.tag == "Error":
        code = text(found, "Code")
        raise Answered(412 if code == "PreconditionFailed" else 500, code, text(found, "Message"))
    return {"ETag": text(found, "ETag")}


def _page(found: Element) -> dict[str, Any]:
    read = unquote_plus if text(found, "EncodingType") == "url" else str  # not every server does as it is asked
    return {
        "Contents": [
            {"Key": read(text(one, "Key")), "Size": int(text(one, "Size")), "ETag": text(one, "ETag")}
            for one in found.iterfind("Contents")
        ],
        "IsTruncated": text(found, "IsTruncated") == "true",
        "NextContinuationToken": text(found, "NextContinuationToken"),
    }
