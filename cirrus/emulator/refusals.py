"""What Lambda's API answers where it does not do what it was asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(eq=False)
class Refusal(Exception):
    """An error of the API: its HTTP status, its type as AWS calls it, a sentence, and more fields of its body."""

    status: int
    kind: str
    message: str
    more: Mapping[str, object] = field(default_factory=dict)


def invalid(message: str) -> Refusal:
    """A parameter's value is impossible."""
    return Refusal(400, "InvalidParameterValueException", message, {"Type": "User"})


def missing(what: str) -> Refusal:
    """There is nothing of that name."""
    return Refusal(404, "ResourceNotFoundException", f"{what} was not found", {"Type": "User"})


def conflict(message: str) -> Refusal:
    """It cannot be done now, or has been done already."""
    return Refusal(409, "ResourceConflictException", message, {"Type": "User"})


def throttled(reason: str) -> Refusal:
    """Too many invocations at once, or too many requests a second; ``reason`` names the limit as AWS does."""
    return Refusal(429, "TooManyRequestsException", "Rate Exceeded.", {"Type": "User", "Reason": reason})


def too_large(message: str) -> Refusal:
    """A payload is larger than the API takes."""
    return Refusal(413, "RequestTooLargeException", message, {"Type": "User"})
