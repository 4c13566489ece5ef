"""What goes wrong on S3, told apart: what to try again, what a condition decided, and what only a person can mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from cirrus.store.s3_address import S3Address

FOREIGN = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, OSError, TimeoutError)
"""All that the client raises; ``OSError`` covers broken connections."""

_PASSING = (
    HTTPClientError, IncompleteReadError, FlexibleChecksumError, ResponseParserError, aiohttp.ClientError, OSError,
    TimeoutError,
)  # fmt: skip
_AGAIN = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException"}
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_LOST = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload", "OperationAborted"}
_STRANGER = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_NEEDED = {"HeadObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket"}

Kind = Literal["again", "absent", "empty", "lost", "final"]


@dataclass(frozen=True, slots=True)
class Request:
    """An operation as S3 calls it (``PutObject``), the object's key as our callers know it, and the bytes it sends."""

    operation: str
    key: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """What to do about an error; ``problem`` is for people.

    ``again``: try it again; ``absent``: no such object; ``empty``: the object ends before the range that was asked for;
    ``lost``: a condition did not hold, or may not have; ``final``: everything else.
    """

    kind: Kind
    problem: str


def fault_of(error: Exception, request: Request, address: S3Address) -> Fault:
    """What a foreign error means for that request."""
    if isinstance(error, ClientError):
        return _answered(error, request, address)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Fault("final", f"no AWS credentials were found in the environment, a profile or a role ({error})")
    if isinstance(error, SSLError):
        return Fault("final", f"the server's certificate is not accepted: {error}")
    return Fault("again" if isinstance(error, _PASSING) else "final", _text(error))


def _answered(error: ClientError, request: Request, address: S3Address) -> Fault:
    """What an error means that the server has sent."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _AGAIN or status >= 500 or status in {408, 429}:
        return Fault("again", _text(error))
    if code == "InvalidRange" or status == 416:
        return Fault("empty", _text(error))
    if code in _LOST:
        return Fault("lost", _text(error))
    if code in _ABSENT:
        return Fault("absent", _text(error))
    return Fault("final", _for_people(code, status, request, address) or _text(error))


def _for_people(code: str, status: int, request: Request, address: S3Address) -> str:
    """What to do about errors that have an explanation of ours."""
    if code == "NoSuchBucket":
        return f"there is no bucket {address.bucket!r}"
    if code in _EXPIRED:
        return "the AWS credentials have expired; renew them"
    if code in _STRANGER:
        return f"the server does not accept the AWS credentials ({code})"
    if code == "RequestTimeTooSkewed":
        return "this machine's clock differs too much from the server's"
    if code == "400":  # an answer without a body: S3 gives no reasons to questions about size and ETag
        return "refused without a reason, as it happens when the AWS credentials have expired"
    return _not_allowed(request, address) if status == 403 else ""


def _not_allowed(request: Request, address: S3Address) -> str:
    bucket = f"arn:aws:s3:::{address.bucket}"
    whole = request.operation == "ListObjectsV2"
    resource = bucket if whole else f"{bucket}/{address.key(request.key)}"
    problem = f"not allowed: it needs {_needed(request.operation)} on {resource}"
    if _needed(request.operation) == "s3:GetObject":
        problem += f" (without s3:ListBucket on {bucket} an object that does not exist looks like this, too)"
    return problem + (f", or the bucket does not belong to account {address.owner}" if address.owner else "")


def _needed(operation: str) -> str:
    """The permission that an operation takes; the parts of an upload take that of the object."""
    return "s3:PutObject" if "Part" in operation or "part" in operation else _NEEDED.get(operation, f"s3:{operation}")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
