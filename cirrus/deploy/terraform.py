"""The same description for Terraform, in its own language."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cirrus.deploy.buckets import PUBLIC, RULE
from cirrus.deploy.deployment import MARK, Deployment
from cirrus.deploy.places import Place
from cirrus.deploy.plan import BucketPlan, FunctionPlan, Plan, planned
from cirrus.deploy.stamps import Stamp

PROVIDER = ">= 5.80"
"""A version of the provider that knows Python 3.13, and functions that name their log group."""


@dataclass(frozen=True, slots=True)
class Expression:
    """What Terraform is to compute, in its words."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A block with labels; what is in it are values, expressions and blocks."""

    kind: str
    labels: tuple[str, ...]
    content: Mapping[str, object]


def terraform(deployment: Deployment, stamp: Stamp, bundle: str) -> str:
    """A file for ``terraform apply``; ``bundle`` is the zip's path, which the variable of that name may change."""
    partition, account = "${data.aws_partition.current.partition}", "${data.aws_caller_identity.current.account_id}"
    plan = planned(deployment, Place(partition, deployment.region, account), stamp)
    provider = {"aws": {"source": "hashicorp/aws", "version": PROVIDER}}
    blocks = [
        Block("terraform", (), {"required_providers": Block("required_providers", (), provider)}),
        Block("provider", ("aws",), {"region": deployment.region}),
        Block("variable", ("bundle",), {"type": Expression("string"), "default": _literal(bundle)}),
        Block("data", ("aws_partition", "current"), {}),
        Block("data", ("aws_caller_identity", "current"), {}),
        *(() if plan.bucket is None else _bucket(plan.bucket)),
        *_role(plan),
        _resource("cloudwatch_log_group", {
            "name": plan.log_group.name, "retention_in_days": plan.log_group.retention, **_tags(plan.log_group.tags),
        }),
        *_function(plan.function),
    ]  # fmt: skip
    return "\n\n".join("\n".join(_lines(block, "")) for block in blocks) + "\n"


def _bucket(plan: BucketPlan) -> Iterator[Block]:
    bucket = {"bucket": Expression("aws_s3_bucket.cirrus.id")}
    key = {} if plan.kms_key is None else {"kms_master_key_id": plan.kms_key}
    default = Block("apply_server_side_encryption_by_default", (), {"sse_algorithm": plan.algorithm, **key})
    unfinished = Block("abort_incomplete_multipart_upload", (), {"days_after_initiation": plan.abandoned})
    rule = {"id": RULE, "status": "Enabled", "filter": Block("filter", (), {}), "unfinished": unfinished}
    public = {
        "block_public_acls": PUBLIC["BlockPublicAcls"], "ignore_public_acls": PUBLIC["IgnorePublicAcls"],
        "block_public_policy": PUBLIC["BlockPublicPolicy"], "restrict_public_buckets": PUBLIC["RestrictPublicBuckets"],
    }  # fmt: skip
    yield _resource("s3_bucket", {"bucket": plan.name, **_tags(plan.tags)})
    yield _resource("s3_bucket_public_access_block", {**bucket, **public})
    yield _resource("s3_bucket_server_side_encryption_configuration", {
        **bucket, "rule": Block("rule", (), {"default": default, "bucket_key_enabled": bool(key)}),
    })  # fmt: skip
    yield _resource("s3_bucket_lifecycle_configuration", {**bucket, "rule": Block("rule", (), rule)})
    yield _resource("s3_bucket_policy", {**bucket, "policy": _document(plan.policy)})


def _role(plan: Plan) -> Iterator[Block]:
    role = plan.role
    yield _resource("iam_role", {
        "name": role.name, "assume_role_policy": _document(role.trust), **_tags(role.tags),
    })  # fmt: skip
    yield _resource("iam_role_policy", {
        "name": role.policy_name, "role": Expression("aws_iam_role.cirrus.id"), "policy": _document(role.policy),
    })  # fmt: skip


def _function(plan: FunctionPlan) -> Iterator[Block]:
    reserved = {} if plan.concurrency is None else {"reserved_concurrent_executions": plan.concurrency}
    logging = {"log_format": "Text", "log_group": Expression("aws_cloudwatch_log_group.cirrus.name")}
    yield _resource("lambda_function", {
        "function_name": plan.name, "role": Expression("aws_iam_role.cirrus.arn"), "handler": plan.handler,
        "runtime": plan.runtime, "architectures": [plan.architecture], "memory_size": plan.memory,
        "timeout": plan.timeout, "filename": Expression("var.bundle"),
        "source_code_hash": Expression("filebase64sha256(var.bundle)"), **reserved,
        "ephemeral_storage": Block("ephemeral_storage", (), {"size": plan.disk}),
        "environment": Block("environment", (), {"variables": plan.environment}),
        "logging_config": Block("logging_config", (), logging), **_tags(plan.tags),
        "depends_on": Expression("[aws_iam_role_policy.cirrus]"),
    })  # fmt: skip
    yield _resource("lambda_function_event_invoke_config", {
        "function_name": Expression("aws_lambda_function.cirrus.function_name"),
        "maximum_retry_attempts": plan.retries, "maximum_event_age_in_seconds": plan.event_age,
    })  # fmt: skip


def _resource(kind: str, content: Mapping[str, object]) -> Block:
    return Block("resource", (f"aws_{kind}", "cirrus"), content)


def _tags(tags: Mapping[str, str]) -> dict[str, object]:
    own = {name: value for name, value in tags.items() if name != MARK}
    return {"tags": own} if own else {}


def _literal(text: str) -> str:
    """The text without anything that Terraform would put in."""
    return text.replace("${", "$${").replace("%{", "%%{")


def _document(document: Mapping[str, object]) -> Expression:
    return Expression(f"jsonencode({json.dumps(document, indent=2)})")


def _lines(block: Block, margin: str) -> Iterator[str]:
    head = " ".join([block.kind, *(json.dumps(label) for label in block.labels)])
    if not block.content:
        yield f"{margin}{head} {{}}"
        return
    yield f"{margin}{head} {{"
    for name, value in block.content.items():
        if isinstance(value, Block):
            yield from _lines(value, f"{margin}  ")
        else:
            text = _text(value).replace("\n", f"\n{margin}  ")
            yield f"{margin}  {name} = {text}"
    yield f"{margin}}}"


def _text(value: object) -> str:
    match value:
        case Expression(text):
            return text
        case bool():
            return "true" if value else "false"
        case Mapping():
            inner = "".join(f"  {json.dumps(name)} = {_text(one)}\n" for name, one in value.items())
            return f"{{\n{inner}}}"
        case _:
            return json.dumps(value)
