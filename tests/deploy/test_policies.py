"""No policy allows an action or a resource that it does not name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cirrus.cloud
from cirrus.cli.main import main
from cirrus.cloud.aws import aws
from cirrus.cloud.ec2 import Ec2Shards, run_tags
from cirrus.cloud.hosts import Lodger
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.places import Place
from cirrus.deploy.policies import Document, deployer, driver, encrypted_only, shards, trust, worker
from tests.deploy.lint import complaints

WORDS = ("--bucket", "my-bucket", "--region", "us-west-2", "--account", "123456789012")
KEY = "arn:aws:kms:us-west-2:123456789012:key/abc"
MORE = (
    (),
    ("--read", "s3://other/day_0.gz", "--read", "s3://third/", "--kms-key", KEY, "--function", "f", "--prefix", "p/q"),
    ("--existing-bucket", "--role", "r", "--log-group", "l"),
    ("--ec2-shards", "cirrus-shards"),
)
PLACE = Place("aws", "us-west-2", "123456789012")
ACTION = re.compile(r"[a-z0-9]+:[A-Z][A-Za-z]+")
RESOURCE = re.compile(
    r"arn:aws:(s3:::[a-z-]+(/[a-z0-9_./]+)?|s3:::[a-z-]+/([a-z0-9_.]+/)*\*"  # objects: all below a prefix
    r"|logs:us-west-2:123456789012:log-group:[\w/-]*(:log-stream:\*?)?"  # all streams of one group
    r"|(iam|lambda|kms):[a-z0-9-]*:123456789012:(role/|function:|key/)[\w-]+"
    r"|ec2:us-west-2:123456789012:(network-interface|security-group|subnet)/\*"  # EC2 gives all things their ids
    r"|ssm:us-west-2::parameter/aws/service/[\w/-]+)"
)

BOUND = re.compile(r"arn:aws:ec2:us-west-2:(123456789012:(instance|volume)|:image)/\*")
"""Things of EC2 that a statement may name by their kind only where a condition bounds it."""


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def loose(policy: dict[str, Any]) -> Iterator[str]:
    """Actions and resources of a policy that are more than one thing by its name."""
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        assert not statement.keys() & {"NotAction", "NotResource", "NotPrincipal"}
        yield from (one for one in listed(statement["Action"]) if not ACTION.fullmatch(one))
        names = listed(statement.get("Resource", []))
        bound = statement.get("Condition", {}).get("StringEquals")
        yield from (one for one in names if not RESOURCE.fullmatch(one) and not (bound and BOUND.fullmatch(one)))


@pytest.mark.parametrize("more", MORE, ids=["plain", "more", "others", "shards"])
def test_every_action_and_every_resource_has_a_name(more: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iam", *WORDS, *more, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    who = ["worker", "driver", "deployer", "trust"]
    assert list(found) == ([*who[:2], "shards", *who[2:]] if "--ec2-shards" in more else who)
    for policy in found.values():
        assert list(loose(policy)) == []


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("*", "arn:aws:s3:::my-bucket/cirrus/*"),
        ("s3:*", "arn:aws:s3:::my-bucket/cirrus/*"),
        ("s3:Get*", "arn:aws:s3:::my-bucket/cirrus/*"),
        ("s3:GetObject", "*"),
        ("s3:GetObject", "arn:aws:s3:::*"),
        ("s3:GetObject", "arn:aws:s3:::my-*/cirrus/*"),
        ("lambda:InvokeFunction", "arn:aws:lambda:us-west-2:123456789012:function:*"),
        ("logs:PutLogEvents", "arn:aws:logs:us-west-2:123456789012:log-group:*"),
        ("logs:PutLogEvents", "arn:aws:logs:*:123456789012:log-group:l:log-stream:*"),
        ("ec2:DescribeInstances", "*"),
        ("ec2:TerminateInstances", "arn:aws:ec2:us-west-2:123456789012:instance/*"),
        ("ec2:RunInstances", "arn:aws:ec2:us-west-2:123456789012:*/*"),
        ("ec2:RunInstances", "arn:aws:ec2:*:123456789012:subnet/*"),
        ("ssm:GetParameters", "arn:aws:ssm:us-west-2::parameter/aws/service/*"),
    ],
)
def test_what_is_loose_would_be_found(action: str, resource: str) -> None:
    statement = {"Effect": "Allow", "Action": [action], "Resource": [resource]}
    assert list(loose({"Statement": [statement]}))


def test_a_worker_can_do_nothing_but_its_work() -> None:
    policy = worker(Deployment(bucket="my-bucket", region="us-west-2"), PLACE)
    actions = {action for one in policy["Statement"] for action in one["Action"]}
    assert actions == {
        "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload", "logs:CreateLogStream", "logs:PutLogEvents",
    }  # fmt: skip
    assert [one["Resource"] for one in policy["Statement"]] == [
        ["arn:aws:s3:::my-bucket/cirrus/*"],
        ["arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/cirrus-worker:log-stream:*"],
    ]


def test_who_may_read_only_reads() -> None:
    policy = worker(Deployment(bucket="my-bucket", region="us-west-2", data=("s3://other/day_0.gz",)), PLACE)
    data = next(one for one in policy["Statement"] if one["Sid"] == "Data")
    assert data["Action"] == ["s3:GetObject"]
    assert data["Resource"] == ["arn:aws:s3:::other/day_0.gz", "arn:aws:s3:::other/day_0.gz/*"]


def test_names_follow_the_partition() -> None:
    for make in (worker, driver, deployer, hosts):
        policy = make(Deployment(bucket="b-1", region="cn-north-1"), Place("aws-cn", "cn-north-1", "123456789012"))
        resources = [name for one in policy["Statement"] for name in one["Resource"]]
        assert resources
        assert all(name.startswith("arn:aws-cn:") for name in resources)


def hosts(deployment: Deployment, place: Place) -> Document:
    return shards(deployment, place, "cirrus-shards")


def test_hosts_are_started_and_ended_with_the_tag_of_the_store_alone() -> None:
    policy = hosts(Deployment(bucket="my-bucket", region="us-west-2"), PLACE)
    found = {one["Sid"]: one for one in policy["Statement"]}
    place = aws(bucket="my-bucket", function="f", region="us-west-2")
    tag = run_tags(Lodger("a-run", 1, place.url))["cirrus-store"]
    assert found["StartHosts"]["Condition"] == {"StringEquals": {"aws:RequestTag/cirrus-store": tag}}
    assert found["EndHosts"]["Condition"] == {"StringEquals": {"aws:ResourceTag/cirrus-store": tag}}
    assert found["TagHosts"]["Condition"] == {"StringEquals": {"ec2:CreateAction": "RunInstances"}}
    assert found["GiveRole"]["Condition"] == {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}}
    ended = {name for one in policy["Statement"] if one["Action"] != ["ec2:RunInstances"] for name in one["Action"]}
    assert ended == {"ssm:GetParameters", "ec2:CreateTags", "ec2:TerminateInstances", "iam:PassRole"}
    images = [Ec2Shards(count=1, region="us-west-2", instance_type=kind).image_id for kind in ("m5.large", "m6g.large")]
    asked = [f"arn:aws:ssm:us-west-2::parameter{one.removeprefix('resolve:ssm:')}" for one in images]
    assert found["FindImages"]["Resource"] == sorted(asked)


def test_what_drivers_with_shards_need_is_printed_where_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iam", "shards", *WORDS, "--ec2-shards", "cirrus-shards"]) == 0
    said = capsys.readouterr()
    role = next(one for one in json.loads(said.out)["Statement"] if one["Sid"] == "GiveRole")
    assert role["Resource"] == ["arn:aws:iam::123456789012:role/cirrus-shards"]
    assert "ec2:DescribeInstances" in said.err
    assert main(["iam", "shards", *WORDS]) == 2
    assert "--ec2-shards" in capsys.readouterr().err


def called(*files: str) -> set[str]:
    """The operations of EC2 that those files ask for."""
    sources = [(Path(cirrus.cloud.__file__).parent / name).read_text(encoding="utf-8") for name in files]
    return {f"ec2:{name}" for source in sources for name in re.findall(r'_ask\(\s*"(\w+)"', source)}


def test_a_driver_with_shards_may_all_that_it_asks_of_ec2_but_what_has_to_be_granted_on_everything() -> None:
    policy = hosts(Deployment(bucket="my-bucket", region="us-west-2"), PLACE)
    granted = {action for one in policy["Statement"] for action in one["Action"]}
    asked = called("ec2_client.py")
    assert asked == {"ec2:RunInstances", "ec2:DescribeInstances", "ec2:TerminateInstances"}
    assert asked - granted == {"ec2:DescribeInstances"}


def test_all_that_a_bucket_refuses_is_what_comes_in_the_clear() -> None:
    (statement,) = encrypted_only(Deployment(bucket="my-bucket", region="us-west-2"), PLACE)["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_all_actions_exist() -> None:
    wide = Deployment(bucket="my-bucket", region="us-west-2", data=("s3://other/x",), kms_key=KEY)
    policies = {
        f"Policy{number}": {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": make(wide, PLACE)}}
        for number, make in enumerate((worker, driver, deployer, hosts))
    }
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust()}}
    template = {"Resources": {**policies, "Role": role}}
    assert complaints(template) == []
    unknown = json.loads(json.dumps(template).replace("lambda:InvokeFunction", "lambda:CallFunction"))
    assert "callfunction" in complaints(unknown)[0].lower()


@pytest.mark.parametrize("who", ["worker", "driver", "deployer", "trust"])
def test_one_policy_alone_is_a_document(who: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iam", who, *WORDS]) == 0
    assert json.loads(capsys.readouterr().out)["Version"] == "2012-10-17"


def test_people_are_told_whose_each_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["iam", *WORDS]) == 0
    out = capsys.readouterr().out
    assert [line.partition(":")[0] for line in out.splitlines() if line.startswith("#")] == [
        "# worker", "# driver", "# deployer", "# trust",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--account", "12"), "12 digits"),
        (("--ec2-shards", "*"), "letters, digits"),
        (("--read", "http://x"), "s3://bucket/prefix"),
        (("--kms-key", "alias/x"), "arn:aws:kms"),
        (("--bucket", "My Bucket"), "lower-case"),
        (("--function", "a/b"), "letters, digits, dashes"),
        (("--function", "f" * 60), "deploy.role"),
        (("--prefix", "../x"), "store.prefix"),
        (("--prefix", ""), "deploy.prefix"),
        (("--endpoint", "ec2=http://127.0.0.1:1"), "--endpoint"),
        (("--endpoint", "http://169.254.169.254"), "store.endpoint"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    base = WORDS[:4] if "--endpoint" in words else WORDS
    assert main(["iam", *base, *words]) == 2
    assert said in capsys.readouterr().err
