"""What errors of the Lambda service mean, as the errors of ours."""

from __future__ import annotations

from socket import gaierror

from aiohttp import ClientConnectorError
from aiohttp import ClientError as ConnectionFault
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    SSLError,
)

from cirrus.errors import InvokeError, Throttled, Unanswered

FOREIGN = (ClientError, BotoCoreError, ConnectionFault, OSError)
_THROTTLED = {
    "TooManyRequestsException", "ThrottlingException", "Throttling", "RequestLimitExceeded", "EC2ThrottledException",
}  # fmt: skip
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_STRANGER = {
    "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidAccessKeyId",
    "InvalidClientTokenId", "MissingAuthenticationTokenException", "MissingAuthenticationToken",
    "IncompleteSignatureException", "IncompleteSignature", "RequestTimeTooSkewed", "AuthFailure",
}  # fmt: skip
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError"}


def never_arrived(error: Exception) -> bool:
    """Whether the request surely did not arrive: there never was a connection to send it over.

    The SDK gives one name to that and to a connection that broke later, perhaps behind the request.
    """
    if isinstance(error, EndpointConnectionError):
        return isinstance(error.kwargs.get("error"), ClientConnectorError | gaierror)
    return isinstance(error, ConnectTimeoutError)


def code_of(error: Exception) -> str:
    """The code of an error that the service has sent; empty for others."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_missing(error: Exception) -> bool:
    """Whether the service says that there is no such thing."""
    missing = {"ResourceNotFoundException", "NoSuchEntity", "404", "NoSuchBucket", "NotFound", "ProvisionedConcurrency"}
    return code_of(error) in missing


def is_denied(error: Exception) -> bool:
    """Whether the service says that these credentials may not."""
    return code_of(error) in _DENIED


def is_expired(error: Exception) -> bool:
    """Whether the service says that the credentials were good once."""
    return code_of(error) in _EXPIRED


def is_stranger(error: Exception) -> bool:
    """Whether the service does not know the credentials, or does not accept what they have signed."""
    return code_of(error) in _STRANGER


def invoke_error(error: Exception, action: str, function: str) -> InvokeError:
    """The error of ours for a foreign one that came of ``action`` on the function."""
    if isinstance(error, NoCredentialsError | PartialCredentialsError):
        return InvokeError(f"no AWS credentials were found in the environment, a profile or a role ({error})")
    if isinstance(error, SSLError):
        return InvokeError(f"the server's certificate is not accepted: {error}")
    if isinstance(error, ClientError):
        return _answered(error, action, function)
    if never_arrived(error):
        return InvokeError(f"Lambda cannot be reached: {error}")
    if isinstance(error, HTTPClientError | EndpointConnectionError | ConnectionFault | OSError):
        return Unanswered(f"Lambda did not answer {action}: {error}")
    return InvokeError(f"{action}: {error}")


def _answered(error: ClientError, action: str, function: str) -> InvokeError:
    code, status = code_of(error), int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _THROTTLED or status == 429:
        return Throttled(f"Lambda asks for a slower rate ({code or status})")
    if status >= 500:
        return Unanswered(f"Lambda failed within {action} ({code or status})")
    return InvokeError(_for_people(error, action, function) or f"{action} was refused ({code or status}): {error}")


def _for_people(error: ClientError, action: str, function: str) -> str:
    """What to do about a refusal; empty where that is not known."""
    code = code_of(error)
    if is_missing(error):
        return f"there is no function {function!r}: make it with cirrus deploy"
    if is_expired(error):
        return "the AWS credentials have expired; renew them"
    if is_stranger(error):
        return f"Lambda does not accept the AWS credentials ({code}); if they are right, look at the clock"
    return f"not allowed: it needs lambda:{action} on function {function!r}" if code in _DENIED else ""
