"""What goes wrong in AWS's SDK, told apart: what to try again, and what the server has decided."""

from __future__ import annotations

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
from cirrus.store.s3_requests import Fault, Request, answered

FOREIGN = (BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, OSError, TimeoutError)
"""All that the client raises; ``OSError`` covers broken connections."""

_PASSING = (
    HTTPClientError, IncompleteReadError, FlexibleChecksumError, ResponseParserError, aiohttp.ClientError, OSError,
    TimeoutError,
)  # fmt: skip


def fault_of(error: Exception, request: Request, address: S3Address) -> Fault:
    """What a foreign error means for that request."""
    if isinstance(error, ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return answered(code, status, _text(error), request, address)
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return Fault("final", f"no AWS credentials were found in the environment, a profile or a role ({error})")
    if isinstance(error, SSLError):
        return Fault("final", f"the server's certificate is not accepted: {error}")
    return Fault("again" if isinstance(error, _PASSING) else "final", _text(error))


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
