"""Three templates of the same things."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
import pytest

from cirrus.cli.main import main
from cirrus.deploy.buckets import PUBLIC
from cirrus.deploy.deployment import MARK, Deployment
from cirrus.deploy.places import Place
from cirrus.deploy.plan import planned
from cirrus.deploy.stamps import Stamp, stamp_here
from cirrus.deploy.templates import template
from tests.deploy.ground import bundle
from tests.deploy.lint import complaints

PLACE = Place("aws", "us-west-2", "123456789012")
KEY = "arn:aws:kms:us-west-2:123456789012:key/abc"
DEPLOYMENTS = {
    "plain": Deployment(bucket="my-bucket", region="us-west-2"),
    "full": Deployment(
        bucket="my-bucket", region="us-west-2", function="f", prefix="p/q", role="r", log_group="l", memory=3008,
        data=("s3://other/day", "s3://third"), timeout=60, disk=1024, python="3.13", architecture="arm64", retention=7,
        abandoned=2, kms_key=KEY, concurrency=50, tags={"team": "x y", "when": "2026-01-31"},
    ),
    "others' bucket": Deployment(bucket="my-bucket", region="us-west-2", own_bucket=False),
}  # fmt: skip
STAMP = Stamp("1.2.3", "0123456789abcdef")
WORDS = ("deploy", "--bucket", "my-bucket", "--region", "us-west-2")

each = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


def made(kind: str, deployment: Deployment) -> str:
    return template(kind, deployment, STAMP, "cirrus.zip")


def resolved(value: Any) -> Any:
    """A CloudFormation value as it is in our place."""
    match value:
        case {"Fn::Sub": str(text)}:
            return (
                text.replace("${AWS::Partition}", "aws").replace("${AWS::Region}", "us-west-2")
                .replace("${AWS::AccountId}", "123456789012")
            )  # fmt: skip
        case dict():
            return {name: resolved(one) for name, one in value.items()}
        case list():
            return [resolved(one) for one in value]
        case _:
            return value


def stated(kind: str, deployment: Deployment) -> dict[str, Any]:
    """What a template says of the function, the role, the logs and the bucket, in the same words for all."""
    if kind == "terraform":
        return terraform_stated(made(kind, deployment))
    found = resolved(json.loads(made(kind, deployment))["Resources"])
    things = {name: one["Properties"] for name, one in found.items()}
    function, role, logs = things["Function"], things["Role"], things["LogGroup"]
    events = function["EventInvokeConfig"] if kind == "sam" else things["Events"]
    tags = role.get("Tags", [])
    return {
        "function": [
            function["FunctionName"], function["Handler"], function["Runtime"], function["Architectures"],
            function["MemorySize"], function["Timeout"], function["EphemeralStorage"]["Size"],
            function["Environment"]["Variables"], function["LoggingConfig"]["LogGroup"],
            function.get("ReservedConcurrentExecutions"),
        ],
        "events": [events["MaximumRetryAttempts"], events["MaximumEventAgeInSeconds"]],
        "role": [role["RoleName"], role["AssumeRolePolicyDocument"], role["Policies"][0]["PolicyDocument"]],
        "logs": [logs["LogGroupName"], logs["RetentionInDays"]],
        "tags": {one["Key"]: one["Value"] for one in tags},
        "bucket": bucket_stated(things) if "Bucket" in things else None,
    }  # fmt: skip


def bucket_stated(things: dict[str, Any]) -> list[Any]:
    bucket = things["Bucket"]
    rule = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"][0]["ServerSideEncryptionByDefault"]
    (lifecycle,) = bucket["LifecycleConfiguration"]["Rules"]
    return [
        bucket["BucketName"], list(bucket["PublicAccessBlockConfiguration"].values()), rule["SSEAlgorithm"],
        rule.get("KMSMasterKeyID"), lifecycle["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"],
        things["BucketPolicy"]["PolicyDocument"],
    ]  # fmt: skip


def documents(text: str) -> list[Any]:
    """The policies in a file of Terraform, as they are in our place."""
    text = text.replace("${data.aws_partition.current.partition}", "aws")
    text = text.replace("${data.aws_caller_identity.current.account_id}", "123456789012")
    return [json.loads(one) for one in re.findall(r"jsonencode\((\{.*?\n  \})\)", text, re.DOTALL)]


def plain(value: Any) -> Any:
    """A parsed value without the quotation marks that the parser leaves."""
    match value:
        case str():
            return value.strip('"')
        case dict():
            return {plain(name): plain(one) for name, one in value.items() if name != "__is_block__"}
        case list():
            return [plain(one) for one in value]
        case _:
            return value


def terraform_stated(text: str) -> dict[str, Any]:
    parsed = plain(hcl2.loads(text))
    things = {kind: one["cirrus"] for block in parsed["resource"] for kind, one in block.items()}
    function, logs = things["aws_lambda_function"], things["aws_cloudwatch_log_group"]
    events, role = things["aws_lambda_function_event_invoke_config"], things["aws_iam_role"]
    assert function["logging_config"][0]["log_group"] == "${aws_cloudwatch_log_group.cirrus.name}"
    *bucket, trust, policy = documents(text)
    found = None
    if "aws_s3_bucket" in things:
        public = things["aws_s3_bucket_public_access_block"]
        rule = things["aws_s3_bucket_server_side_encryption_configuration"]["rule"][0]
        default = rule["apply_server_side_encryption_by_default"][0]
        lifecycle = things["aws_s3_bucket_lifecycle_configuration"]["rule"][0]
        names = ("block_public_acls", "ignore_public_acls", "block_public_policy", "restrict_public_buckets")
        found = [
            things["aws_s3_bucket"]["bucket"], [public[name] for name in names], default["sse_algorithm"],
            default.get("kms_master_key_id"),
            lifecycle["abort_incomplete_multipart_upload"][0]["days_after_initiation"], *bucket,
        ]  # fmt: skip
    return {
        "function": [
            function["function_name"], function["handler"], function["runtime"], function["architectures"],
            function["memory_size"], function["timeout"], function["ephemeral_storage"][0]["size"],
            function["environment"][0]["variables"], logs["name"], function.get("reserved_concurrent_executions"),
        ],
        "events": [events["maximum_retry_attempts"], events["maximum_event_age_in_seconds"]],
        "role": [role["name"], trust, policy],
        "logs": [logs["name"], logs["retention_in_days"]],
        "tags": role.get("tags", {}),
        "bucket": found,
    }  # fmt: skip


def planned_words(deployment: Deployment) -> dict[str, Any]:
    """The description itself in those words."""
    plan = planned(deployment, PLACE, STAMP)
    function, bucket = plan.function, plan.bucket
    return {
        "function": [
            function.name, function.handler, function.runtime, [function.architecture], function.memory,
            function.timeout, function.disk, dict(function.environment), function.log_group, function.concurrency,
        ],
        "events": [0, 60],
        "role": [plan.role.name, plan.role.trust, plan.role.policy],
        "logs": [plan.log_group.name, plan.log_group.retention],
        "tags": dict(deployment.tags),
        "bucket": None if bucket is None else [
            bucket.name, list(PUBLIC.values()), bucket.algorithm, bucket.kms_key, bucket.abandoned, bucket.policy,
        ],
    }  # fmt: skip


@each
@pytest.mark.parametrize("kind", ["sam", "cloudformation", "terraform"])
def test_all_of_them_say_what_would_be_deployed(kind: str, deployment: Deployment) -> None:
    assert stated(kind, deployment) == planned_words(deployment)


@each
@pytest.mark.parametrize("kind", ["sam", "cloudformation"])
def test_the_linter_has_nothing_to_say(kind: str, deployment: Deployment) -> None:
    assert complaints(json.loads(made(kind, deployment))) == []


@pytest.mark.parametrize("kind", ["sam", "cloudformation"])
def test_the_linter_would_find_mistakes(kind: str) -> None:
    right = made(kind, DEPLOYMENTS["plain"])
    wrong = right.replace('"MemorySize": 1769', '"MemorySize": 64').replace('"Status": "Enabled"', '"Status": "On"')
    assert len(complaints(json.loads(wrong))) == 2


@each
@pytest.mark.parametrize("kind", ["sam", "cloudformation", "terraform"])
def test_what_a_template_makes_is_not_for_destroy(kind: str, deployment: Deployment) -> None:
    assert MARK not in made(kind, deployment)


def test_buckets_outlive_their_stack() -> None:
    bucket = json.loads(made("sam", DEPLOYMENTS["plain"]))["Resources"]["Bucket"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_a_path_is_not_computed_by_terraform() -> None:
    text = template("terraform", DEPLOYMENTS["plain"], STAMP, 'a"${file("x")}%{if}.zip')
    default = next(line for line in text.splitlines() if "default =" in line)
    assert default == r'  default = "a\"$${file(\"x\")}%%{if}.zip"'


@pytest.mark.parametrize("kind", ["sam", "cloudformation", "terraform"])
def test_the_command_prints_a_template_and_asks_nobody(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--template", kind, "--memory", "2048"]) == 0
    out = capsys.readouterr().out
    assert "2048" in out
    assert stamp_here().source in out
    assert main([*WORDS, "--template", kind, "--memory", "2048", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kind": kind, "template": out}


def test_a_bundle_tells_what_it_is_for(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(bundle(python="3.12", architecture="arm64", version="9.9.9"))
    assert main([*WORDS, "--template", "sam", "--bundle", str(path)]) == 0
    function = json.loads(capsys.readouterr().out)["Resources"]["Function"]["Properties"]
    assert (function["Runtime"], function["Architectures"]) == ("python3.12", ["arm64"])
    assert (function["CodeUri"], function["Environment"]["Variables"]["CIRRUS_VERSION"]) == (str(path), "9.9.9")


@pytest.mark.parametrize("data", [b"", b"PK", b"x" * 100])
def test_what_is_no_bundle_is_refused(data: bytes, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(data)
    assert main([*WORDS, "--template", "sam", "--bundle", str(path)]) == 2
    assert "cirrus bundle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory", "100"), "128 to 10240"),
        (("--timeout", "901"), "1 to 900"),
        (("--disk", "1"), "512"),
        (("--python", "2.7"), "'3.11'"),
        (("--architecture", "sparc"), "'arm64'"),
        (("--retention", "2"), "365"),
        (("--abandoned", "0"), "deploy.abandoned"),
        (("--concurrency", "0"), "deploy.concurrency"),
        (("--tag", "x"), "NAME=VALUE"),
        (("--tag", f"{MARK}=x"), MARK),
        (("--tag", "a=${x}"), "deploy.tags"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--template", "sam", *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [("--with", "no name"), ("--source", "/nowhere/at/all")])
def test_what_cannot_be_built_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, *words]) == 2
    assert "bundle." in capsys.readouterr().err
