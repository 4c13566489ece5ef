"""Requests to S3, whoever sends them: what an answer's error means, and how long a request is tried again."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from cirrus.errors import Conflict, NotFound, StoreError
from cirrus.store.patience import Patience
from cirrus.store.s3_address import S3Address
from cirrus.store.s3_writing import Unsettled

T = TypeVar("T")

SLOWEST = 100_000
"""Bytes a second below which a transfer is given up and begun again."""

_AGAIN = {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException"}
_ABSENT = {"NoSuchKey", "404", "NotFound"}
_LOST = {"PreconditionFailed", "412", "ConditionalRequestConflict", "409", "NoSuchUpload", "OperationAborted"}
_STRANGER = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthorizationHeaderMalformed"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_NEEDED = {"HeadObject": "s3:GetObject", "ListObjectsV2": "s3:ListBucket"}

Kind = Literal["again", "absent", "empty", "lost", "final"]


class Lost(Conflict):
    """The server refused a conditional write, or an upload was gone; what that means is still to be found out."""


class Empty(StoreError):
    """The object ends before the range that was asked for begins."""


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


class Requests(ABC):
    """Sends requests with patience. Who derives from it does one try, and says what a foreign error means."""

    foreign: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, address: S3Address, patience: Patience) -> None:
        self._address = address
        self._patience = patience
        self._answered = False
        self._caught: tuple[type[Exception], ...] = (*self.foreign, Unsettled)

    @abstractmethod
    async def close(self) -> None:
        """Close all connections; requests under way fail."""

    @abstractmethod
    async def _call(self, operation: str, key: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Try once; the parameters and the answer are named as AWS's SDK names them, the answer's body is read."""

    @abstractmethod
    def _fault_of(self, error: Exception, request: Request) -> Fault:
        """What one of the ``foreign`` errors means."""

    async def send(self, request: Request, **parameters: object) -> dict[str, Any]:
        """Send a request until it is answered, or patience is over; ``parameters`` are the operation's own.

        ``NotFound``, ``Lost``, ``Empty``, or ``StoreError`` that says what was tried and what would help.
        """

        async def once() -> dict[str, Any]:
            async with asyncio.timeout(self._patience.silence * 2 + request.size / SLOWEST):
                return await self._call(request.operation, request.key, parameters)

        return await self.patiently(request, once)

    async def patiently(self, request: Request, once: Callable[[], Awaitable[T]]) -> T:
        """What ``once`` returns, after as many tries as it takes, or as patience allows."""
        clock, failures = self._patience.clock, 0
        began = clock.monotonic()
        while True:
            try:
                found = await once()
            except self._caught as error:
                fault = self._fault(error, request)
                if fault.kind != "again":
                    raise _ours(fault, request.key) from error
                failures += 1
                pause = self._patience.pause(failures)
                spent = clock.monotonic() - began
                if spent + pause > self._most:
                    tries = f"{failures} tries in {spent:.1f} s"
                    raise StoreError(request.key, f"{request.operation} failed, {tries}: {fault.problem}") from error
                await clock.sleep(pause)
            else:
                self._answered = True
                return found

    def _fault(self, error: Exception, request: Request) -> Fault:
        if isinstance(error, Unsettled):
            self._answered = True
            return Fault("again", "the server refuses the write, although nothing stands against it")
        fault = self._fault_of(error, request)
        self._answered |= fault.kind != "again"
        return fault

    @property
    def _most(self) -> float:
        return self._patience.seconds if self._answered else self._patience.unanswered


def answered(code: str, status: int, text: str, request: Request, address: S3Address) -> Fault:
    """What an error means that the server has sent: its code, the HTTP status, and a sentence."""
    if code in _AGAIN or status >= 500 or status in {408, 429}:
        return Fault("again", text)
    if code == "InvalidRange" or status == 416:
        return Fault("empty", text)
    if code in _LOST:
        return Fault("lost", text)
    if code in _ABSENT:
        return Fault("absent", text)
    return Fault("final", _for_people(code, status, request, address) or text)


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


def _ours(fault: Fault, key: str) -> StoreError:
    match fault.kind:
        case "absent":
            return NotFound(key)
        case "lost":
            return Lost(key, fault.problem)
        case "empty":
            return Empty(key, fault.problem)
        case _:
            return StoreError(key, fault.problem)
