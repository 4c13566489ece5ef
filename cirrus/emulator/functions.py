"""What a function is, from the API's requests to the API's answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from cirrus.emulator.refusals import invalid

NAME = re.compile(r"[a-zA-Z0-9-_]{1,64}")
ROLE = re.compile(r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+")
HANDLER = re.compile(r"[^\s]{1,128}")
RUNTIME = re.compile(r"python3\.\d+")
VARIABLE = re.compile(r"[a-zA-Z]\w+")
MOST_VARIABLES = 4096
RESERVED = {
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR",
}  # fmt: skip
"""Variables that the provider sets and nobody else may."""

Architecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True, slots=True)
class Configuration:
    """How a function runs: MB of memory and of its own disk, seconds of time, variables of its environment."""

    name: str
    role: str
    handler: str
    runtime: str
    architecture: str = "x86_64"
    memory: int = 128
    timeout: int = 3
    disk: int = 512
    description: str = ""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    tags: Mapping[str, str] = field(default_factory=dict)
    logs: str = ""

    def __post_init__(self) -> None:
        _matches("FunctionName", self.name, NAME)
        _matches("Role", self.role, ROLE)
        _matches("Runtime", self.runtime, RUNTIME)
        _within("MemorySize", self.memory, 128, 10_240)
        _within("Timeout", self.timeout, 1, 900)
        _within("EphemeralStorage.Size", self.disk, 512, 10_240)
        if self.architecture not in {"x86_64", "arm64"}:
            raise invalid(f"Architectures: {self.architecture!r} is none of x86_64, arm64")
        _matches("Handler", self.handler, HANDLER)
        _check_environment(self.environment)

    @property
    def log_group(self) -> str:
        """Where what it prints is said to go."""
        return self.logs or f"/aws/lambda/{self.name}"

    def changed(self, body: Mapping[str, Any]) -> Configuration:
        """The same with what a request says of it; ``Refusal`` for what cannot be."""
        names = {
            "Role": "role", "Handler": "handler", "Runtime": "runtime", "MemorySize": "memory", "Timeout": "timeout",
            "Description": "description", "Tags": "tags",
        }  # fmt: skip
        changes = {ours: body[theirs] for theirs, ours in names.items() if theirs in body}
        match body:
            case {"Environment": {"Variables": {**variables}}}:
                changes["environment"] = variables
            case _:
                pass
        match body:
            case {"EphemeralStorage": {"Size": size}}:
                changes["disk"] = size
            case _:
                pass
        match body:
            case {"LoggingConfig": {"LogGroup": str(group)}}:
                changes["logs"] = group
            case _:
                pass
        match body:
            case {"Architectures": [one]}:
                changes["architecture"] = one
            case _:
                pass
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class Code:
    """A function's code: SHA-256 of the zip in base 64, its bytes, and the folder where it is unpacked."""

    sha256: str
    size: int
    folder: Path


@dataclass(frozen=True, slots=True)
class EventConfig:
    """How often an event is tried again after an error, and for how many seconds it is good."""

    retries: int = 2
    age: int = 21_600

    def __post_init__(self) -> None:
        _within("MaximumRetryAttempts", self.retries, 0, 2)
        _within("MaximumEventAgeInSeconds", self.age, 60, 21_600)


def created(name: object, body: Mapping[str, Any]) -> Configuration:
    """The configuration that a request to create a function asks for."""
    if body.get("PackageType", "Zip") != "Zip":
        raise invalid("PackageType: only Zip")
    for wanted in ("Role", "Handler", "Runtime"):
        if not body.get(wanted):
            raise invalid(f"{wanted} is mandatory for functions created with deployment packages")
    bare = Configuration(str(name), body["Role"], body["Handler"], body["Runtime"])
    return bare.changed(body)


def _matches(field_name: str, value: object, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise invalid(f"{field_name}: {value!r} does not match {pattern.pattern}")


def _within(field_name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise invalid(f"{field_name}: {value!r} is no whole number from {low} to {high}")


def _check_environment(variables: Mapping[str, object]) -> None:
    for name, value in variables.items():
        if not VARIABLE.fullmatch(name) or not isinstance(value, str):
            raise invalid(f"Environment: {name!r} is no variable with a text")
        if name in RESERVED:
            raise invalid(f"Lambda was unable to configure your environment variables: reserved keys are used: {name}")
    if sum(len(name) + len(str(value)) for name, value in variables.items()) > MOST_VARIABLES:
        raise invalid(f"Environment: more than {MOST_VARIABLES} bytes")
