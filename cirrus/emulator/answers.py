"""Functions as the API describes them."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from cirrus.emulator.account import Account, Function


def described(function: Function) -> dict[str, object]:
    """A function's configuration and state."""
    one, code = function.configuration, function.code
    found: dict[str, object] = {
        "FunctionName": one.name, "FunctionArn": function.arn, "Runtime": one.runtime, "Role": one.role,
        "Handler": one.handler, "CodeSize": code.size if code else 0, "Description": one.description,
        "Timeout": one.timeout, "MemorySize": one.memory, "LastModified": modified(function),
        "CodeSha256": code.sha256 if code else "", "Version": "$LATEST", "PackageType": "Zip",
        "RevisionId": str(uuid5(NAMESPACE_URL, f"{function.arn}/{function.revision}")),
        "Architectures": [one.architecture], "EphemeralStorage": {"Size": one.disk}, "State": function.state,
        "TracingConfig": {"Mode": "PassThrough"}, "LastUpdateStatus": function.update,
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": one.log_group},
    }  # fmt: skip
    if one.environment:
        found["Environment"] = {"Variables": dict(one.environment)}
    if function.reason:
        found["LastUpdateStatusReason"] = function.reason
        found["LastUpdateStatusReasonCode"] = "InvalidZipFileException"
    if function.state != "Active":
        found["StateReason"] = function.reason or "The function is being created."
        found["StateReasonCode"] = "InvalidZipFileException" if function.reason else "Creating"
    return found


def whole(function: Function) -> dict[str, object]:
    """What ``GetFunction`` tells: the code cannot be fetched from here."""
    found: dict[str, object] = {"Configuration": described(function), "Code": {"RepositoryType": "S3", "Location": ""}}
    if function.configuration.tags:
        found["Tags"] = dict(function.configuration.tags)
    if function.reserved is not None:
        found["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return found


def event_config(function: Function) -> dict[str, object]:
    """How events are tried again."""
    assert function.events is not None
    return {
        "LastModified": function.modified,
        "FunctionArn": f"{function.arn}:$LATEST",
        "MaximumRetryAttempts": function.events.retries,
        "MaximumEventAgeInSeconds": function.events.age,
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}},
    }


def settings(account: Account) -> dict[str, object]:
    """The account's limits, and what it uses of them."""
    sizes = [one.code.size for one in account.functions.values() if one.code is not None]
    return {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800, "CodeSizeUnzipped": 262_144_000, "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": account.setting.concurrency, "UnreservedConcurrentExecutions": account.unreserved,
        },
        "AccountUsage": {"TotalCodeSize": sum(sizes), "FunctionCount": len(account.functions)},
    }  # fmt: skip


def modified(function: Function) -> str:
    """When it was changed last, as the API writes it."""
    return datetime.fromtimestamp(function.modified, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")
