"""What is deployed, what is left alone, and what is removed again."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from itertools import count
from typing import Any, cast

import pytest
from aiohttp import web

from cirrus.bundle.packing import pack
from cirrus.deploy.apply import Change
from cirrus.deploy.deployment import MARK, Deployment
from cirrus.deploy.services import services
from cirrus.errors import OutsideError, PipelineError
from tests.deploy.front import NEW_ROLE, front, refused
from tests.deploy.ground import HANDLER, REGION, STAMP, Ground, bundle, endpoints, environment, ground, session
from tests.deploy.moto_server import ACCOUNT

NUMBERS = count()
CODE = bundle()
ROLE = f"arn:aws:iam::{ACCOUNT}:role/somebody"
DENY: dict[str, object] = {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/y"}
ELSE: dict[str, object] = {"Version": "2012-10-17", "Statement": [DENY]}
NOBODY = {**ELSE, "Statement": [{"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": {"AWS": ROLE}}]}


@pytest.fixture
async def place(moto: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    async with ground(moto, monkeypatch) as found:
        yield found


def fresh(**more: Any) -> Deployment:
    """A deployment that nobody has made yet."""
    number = next(NUMBERS)
    return Deployment(bucket=f"bucket-{number}", region=REGION, function=f"f{number}", **more)


def whole(one: Deployment) -> list[Change]:
    """All that makes a deployment."""
    bucket, role, logs = f"bucket {one.bucket}", f"role {one.role_name}", f"log group {one.log_group_name}"
    return [
        Change("create", bucket), Change("set", bucket, "no public access"), Change("set", bucket, "encryption"),
        Change("set", bucket, "TLS only"), Change("set", bucket, "end of unfinished uploads"),
        Change("create", role), Change("set", role, "what it may"),
        Change("create", logs), Change("set", logs, "days that logs are kept"),
        Change("create", f"function {one.function}"), Change("set", f"function {one.function}", "no retries of events"),
    ]  # fmt: skip


async def test_a_dry_run_tells_what_is_then_done_and_a_second_call_does_nothing(place: Ground) -> None:
    one = fresh()
    assert await place.deploy(one, CODE, dry=True) == whole(one)
    assert await place.destroy(one) == [], "nothing was made"
    assert await place.deploy(one, CODE) == whole(one)
    assert await place.deploy(one, CODE) == []
    answer = await place.ask("lambda", "invoke", FunctionName=one.function, Payload=b'{"a": 1}')
    async with answer["Payload"] as stream:
        assert json.loads(await stream.read()) == {"a": 1}


async def test_it_is_all_there(place: Ground) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/abc"
    logs = f"l/{next(NUMBERS)}"
    one = fresh(memory=512, timeout=30, concurrency=7, kms_key=key, tags={"team": "x"}, log_group=logs, retention=7)
    await place.deploy(one, CODE)
    tags, bucket = {"team": "x", MARK: one.function}, {"Bucket": one.bucket}
    found = await place.ask("s3", "get_public_access_block", **bucket)
    assert set(found["PublicAccessBlockConfiguration"].values()) == {True}
    found = await place.ask("s3", "get_bucket_encryption", **bucket)
    rule = found["ServerSideEncryptionConfiguration"]["Rules"][0]["ApplyServerSideEncryptionByDefault"]
    assert rule == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    found = await place.ask("s3", "get_bucket_tagging", **bucket)
    assert {tag["Key"]: tag["Value"] for tag in found["TagSet"]} == tags
    role = (await place.ask("iam", "get_role", RoleName=one.role_name))["Role"]
    assert role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"] == {"Service": "lambda.amazonaws.com"}
    assert {tag["Key"]: tag["Value"] for tag in role["Tags"]} == tags
    (group,) = (await place.ask("logs", "describe_log_groups", logGroupNamePrefix=logs))["logGroups"]
    assert group["retentionInDays"] == 7
    function = await place.ask("lambda", "get_function", FunctionName=one.function)
    settings = function["Configuration"]
    assert (settings["MemorySize"], settings["Timeout"], settings["Role"]) == (512, 30, role["Arn"])
    assert settings["LoggingConfig"]["LogGroup"] == logs
    assert settings["Environment"]["Variables"] == STAMP.environment
    assert (function["Tags"], function["Concurrency"]["ReservedConcurrentExecutions"]) == (tags, 7)
    events = await place.ask("lambda", "get_function_event_invoke_config", FunctionName=one.function)
    assert (events["MaximumRetryAttempts"], events["MaximumEventAgeInSeconds"]) == (0, 60)


async def test_what_has_been_changed_is_set_again_and_nothing_else(place: Ground) -> None:
    one = fresh(concurrency=5)
    await place.deploy(one, CODE)
    bucket, role, function = f"bucket {one.bucket}", f"role {one.role_name}", f"function {one.function}"
    logs = f"log group {one.log_group_name}"
    names: dict[str, dict[str, object]] = {
        "s3": {"Bucket": one.bucket}, "iam": {"RoleName": one.role_name}, "lambda": {"FunctionName": one.function},
        "logs": {"logGroupName": one.log_group_name},
    }  # fmt: skip
    drifts: list[tuple[Any, str, dict[str, object], Change]] = [
        ("s3", "delete_public_access_block", {}, Change("set", bucket, "no public access")),
        ("s3", "delete_bucket_encryption", {}, Change("set", bucket, "encryption")),
        ("s3", "delete_bucket_policy", {}, Change("set", bucket, "TLS only")),
        ("s3", "delete_bucket_lifecycle", {}, Change("set", bucket, "end of unfinished uploads")),
        ("iam", "update_assume_role_policy", {"PolicyDocument": json.dumps(NOBODY)},
         Change("set", role, "who takes it")),
        ("iam", "put_role_policy", {"PolicyName": one.function, "PolicyDocument": json.dumps(ELSE)},
         Change("set", role, "what it may")),
        ("logs", "delete_retention_policy", {}, Change("set", logs, "days that logs are kept")),
        ("lambda", "update_function_configuration", {"Timeout": 5}, Change("set", function, "settings")),
        ("lambda", "delete_function_event_invoke_config", {}, Change("set", function, "no retries of events")),
        ("lambda", "put_function_concurrency", {"ReservedConcurrentExecutions": 0},
         Change("set", function, "reserved concurrency")),
    ]  # fmt: skip
    for service, method, parameters, _ in drifts:
        await place.ask(service, method, **names[service], **parameters)
    changes = [change for *_, change in drifts]
    assert await place.deploy(one, CODE, dry=True) == changes
    assert await place.deploy(one, CODE) == changes, "a dry run changes nothing"
    assert await place.deploy(one, CODE) == []


async def test_another_wish_changes_what_differs(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    changed = replace(one, memory=256, retention=14, tags={"a": "b"}, data=("s3://other/x",))
    found = await place.deploy(changed, bundle(HANDLER + "#\n"))
    assert [(change.thing.partition(" ")[0], change.detail) for change in found] == [
        ("bucket", "tags"), ("role", "tags"), ("role", "what it may"), ("log", "tags"),
        ("log", "days that logs are kept"), ("function", "tags"), ("function", "settings"), ("function", "code"),
    ]  # fmt: skip
    assert await place.deploy(changed, bundle(HANDLER + "#\n")) == []


async def test_settings_of_others_stay(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    name, function = {"Bucket": one.bucket}, {"FunctionName": one.function}
    policy = {**ELSE, "Statement": {**DENY, "Sid": "Theirs", "Principal": "*"}}
    rule = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Days": 9}}
    await place.ask("s3", "put_bucket_policy", **name, Policy=json.dumps(policy))
    await place.ask("s3", "put_bucket_lifecycle_configuration", **name, LifecycleConfiguration={"Rules": [rule]})
    await place.ask("s3", "put_bucket_tagging", **name, Tagging={
        "TagSet": [{"Key": "theirs", "Value": "1"}, {"Key": MARK, "Value": one.function}],
    })  # fmt: skip
    settings = {"Timeout": 9, "Environment": {"Variables": {"THEIRS": "1"}}}
    await place.ask("lambda", "update_function_configuration", **function, **settings)
    assert len(await place.deploy(one, CODE)) == 3
    found = json.loads((await place.ask("s3", "get_bucket_policy", **name))["Policy"])
    assert [statement["Sid"] for statement in found["Statement"]] == ["Theirs", "OnlyTls"]
    rules = (await place.ask("s3", "get_bucket_lifecycle_configuration", **name))["Rules"]
    assert [one["ID"] for one in rules] == ["theirs", "cirrus-unfinished-uploads"]
    told = await place.ask("lambda", "get_function_configuration", **function)
    assert told["Environment"]["Variables"] == {"THEIRS": "1", **STAMP.environment}
    assert "theirs" in str(await place.ask("s3", "get_bucket_tagging", **name))


async def _make_bucket(place: Ground, one: Deployment) -> None:
    where = {"LocationConstraint": REGION}
    await place.ask("s3", "create_bucket", Bucket=one.bucket, CreateBucketConfiguration=where)


async def _make_role(place: Ground, one: Deployment) -> None:
    await place.ask("iam", "create_role", RoleName=one.role_name, AssumeRolePolicyDocument=json.dumps(ELSE))


async def _make_logs(place: Ground, one: Deployment) -> None:
    tags = {MARK: "another function"}
    await place.ask("logs", "create_log_group", logGroupName=one.log_group_name, tags=tags)


async def _make_function(place: Ground, one: Deployment) -> None:
    await place.ask(
        "lambda", "create_function", FunctionName=one.function, Runtime="python3.11", Role=ROLE,
        Handler="lambda_handler.handler.handler", Code={"ZipFile": CODE},
    )  # fmt: skip


MAKERS: dict[str, Callable[[Ground, Deployment], Awaitable[None]]] = {
    "bucket": _make_bucket, "role": _make_role, "log": _make_logs, "function": _make_function,
}  # fmt: skip


@pytest.mark.parametrize("kind", MAKERS)
async def test_what_others_have_made_is_neither_changed_nor_removed(kind: str, place: Ground) -> None:
    one = fresh()
    await MAKERS[kind](place, one)
    with pytest.raises(PipelineError, match=f"got '{kind} "):
        await place.deploy(one, CODE)
    found = await place.destroy(one, data=True)
    assert [(change.action, change.thing.partition(" ")[0]) for change in found] == [("keep", kind)]
    assert await place.destroy(one, data=True) == found, "it is still there, and nothing else is"


async def test_data_are_kept_unless_told(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    name = {"Bucket": one.bucket}
    await place.ask("s3", "put_bucket_versioning", **name, VersioningConfiguration={"Status": "Enabled"})
    await place.ask("s3", "delete_bucket_policy", **name)  # moto reads no conditions, and lets nobody write
    for body in (b"1", b"2"):
        await place.ask("s3", "put_object", **name, Key="cirrus/runs/a", Body=body)
    await place.ask("s3", "delete_object", **name, Key="cirrus/runs/a")
    await place.ask("s3", "create_multipart_upload", **name, Key="cirrus/runs/b")
    gone = [
        Change("remove", f"function {one.function}"), Change("remove", f"log group {one.log_group_name}"),
        Change("remove", f"role {one.role_name}"),
    ]  # fmt: skip
    kept = Change("keep", f"bucket {one.bucket}", "it has data; --data removes them as well")
    assert await place.destroy(one, dry=True) == [*gone, kept]
    assert await place.destroy(one) == [*gone, kept]
    assert await place.destroy(one) == [kept]
    assert len((await place.ask("s3", "list_object_versions", **name))["Versions"]) == 2
    assert await place.destroy(one, data=True, dry=True) == [Change("remove", f"bucket {one.bucket}")]
    assert await place.destroy(one, data=True) == [Change("remove", f"bucket {one.bucket}")]
    assert await place.destroy(one, data=True) == []


async def test_an_object_that_cannot_be_removed_is_an_error(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    await place.ask("s3", "delete_bucket_policy", Bucket=one.bucket)  # as above
    await place.ask("s3", "put_object", Bucket=one.bucket, Key="locked", Body=b"1")
    answer = (
        "<DeleteResult><Error><Key>locked</Key><Code>AccessDenied</Code><Message>held</Message></Error></DeleteResult>"
    )

    def hold(request: web.Request) -> web.Response | None:
        return web.Response(text=answer, content_type="text/xml") if "delete" in request.query else None

    async with front(place.moto, hold) as url, services(REGION, {**place.endpoints, "s3": url}, session()) as found:
        with pytest.raises(OutsideError, match="locked cannot be removed: AccessDenied held"):
            await replace(place, services=found).destroy(one, data=True)


async def test_a_bucket_of_others_is_used_as_it_is(place: Ground) -> None:
    one = fresh(own_bucket=False)
    with pytest.raises(PipelineError, match="bucket that is there"):
        await place.deploy(one, CODE)
    assert await place.destroy(one) == [], "nothing was made"
    await _make_bucket(place, one)
    assert await place.deploy(one, CODE) == [one for one in whole(one) if not one.thing.startswith("bucket")]
    assert await place.services.find("s3", "get_bucket_policy", Bucket=one.bucket) is None
    assert not any(change.thing.startswith("bucket") for change in await place.destroy(one, data=True))
    await place.ask("s3", "list_objects_v2", Bucket=one.bucket)


async def test_what_was_interrupted_is_taken_up(place: Ground) -> None:
    one, told = fresh(), list[Change]()
    for _ in range(6):
        changes = place.account.deploy(one, CODE, STAMP, dry=False)
        async with aclosing(cast("AsyncGenerator[Change]", changes)) as begun:
            for _ in range(2):
                change = await anext(begun, None)
                told += [] if change is None else [change]
    assert told == whole(one)


async def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(
    moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, left = fresh(), iter(range(3))

    def shy(request: web.Request) -> web.Response | None:
        new = request.method == "POST" and request.path.endswith("/functions") and next(left, None) is not None
        return refused(400, "InvalidParameterValueException", NEW_ROLE) if new else None

    async with ground(moto, monkeypatch) as place, front(place.lambdas.endpoint, shy) as url:
        async with services(REGION, endpoints(moto, url), session()) as found:
            assert await replace(place, services=found).deploy(one, CODE) == whole(one)
        assert next(left, None) is None
        assert await place.deploy(one, CODE) == []


async def test_code_that_lambda_does_not_take_is_an_error(place: Ground) -> None:
    one = fresh()
    with pytest.raises(OutsideError, match="could not change function"):
        await place.deploy(one, pack({"../outside.py": b""}))


async def test_keys_that_are_not_accepted_are_an_error(
    place: Ground, moto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    async with services(REGION, endpoints(moto, place.lambdas.endpoint)) as found:
        with pytest.raises(OutsideError, match="does not accept the credentials"):
            await replace(place, services=found).deploy(fresh(), CODE)
