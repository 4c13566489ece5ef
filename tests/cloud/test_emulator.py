"""Lambda on this machine, as AWS's own client sees it."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError

from cirrus.emulator.emulator import Emulator, Options, emulator
from cirrus.emulator.faults import Crash, Duplicate, Late, Lose, Plan, Throttle, scripted, seeded
from cirrus.store.sigv4 import Credentials

ROLE = "arn:aws:iam::000000000000:role/worker"
SOURCE = """
import json, os, signal, sys, time
count = 0
def handler(event, context):
    global count
    count += 1
    print("got", sorted(event))
    if "fail" in event:
        raise ValueError(event["fail"])
    if "hold" in event:
        held = b"x" * (event["hold"] << 20)
    if "die" in event:
        os._exit(event["die"])
    time.sleep(event.get("sleep", 0))
    if "once" in event:
        try:
            os.close(os.open(event["once"], os.O_CREAT | os.O_EXCL))
            raise RuntimeError("the first time")
        except FileExistsError:
            pass
    return {
        "count": count, "pid": os.getpid(), "left": context.get_remaining_time_in_millis(),
        "key": os.environ.get("AWS_ACCESS_KEY_ID"), "modules": sorted({one.partition(".")[0] for one in sys.modules}),
    }
"""


def zipped(source: str = SOURCE) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("task.py", source)
    return data.getvalue()


@asynccontextmanager
async def client(found: Emulator, secret: str | None = None) -> AsyncIterator[Any]:
    keys = found.options.credentials
    async with get_session().create_client(
        "lambda",
        region_name=found.options.region,
        endpoint_url=found.endpoint,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=secret or keys.secret_key,
        config=AioConfig(retries={"total_max_attempts": 1, "mode": "standard"}),
    ) as made:
        yield made


async def deploy(api: Any, name: str = "task", data: bytes | None = None, **more: object) -> None:
    wish = {"Runtime": "python3.11", "Handler": "task.handler", "MemorySize": 128, "Timeout": 30, "Role": ROLE, **more}
    await api.create_function(FunctionName=name, Code={"ZipFile": data or zipped()}, **wish)
    await api.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})


@asynccontextmanager
async def deployed(faults: Plan | None = None, **more: Any) -> AsyncIterator[tuple[Emulator, Any]]:
    options = Options(preload=("json",), delays=(0.01, 0.01), faults=faults or scripted({}), **more)
    async with emulator(options) as found, client(found) as api:
        await deploy(api)
        yield found, api


async def call(api: Any, **event: object) -> Any:
    answer = await api.invoke(FunctionName="task", Payload=json.dumps(event).encode())
    return answer, json.loads(await answer["Payload"].read())


async def send(api: Any, **event: object) -> int:
    answer = await api.invoke(FunctionName="task", InvocationType="Event", Payload=json.dumps(event).encode())
    status: int = answer["StatusCode"]
    return status


async def refused(awaitable: Any) -> tuple[int, str]:
    with pytest.raises(ClientError) as caught:
        await awaitable
    answer = caught.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


async def over(found: Emulator, count: int) -> list[tuple[int, str, int]]:
    while len(found.delivered) < count:
        await found.options.clock.sleep(0.005)
    return sorted((one.number, one.ended, one.attempts) for one in found.delivered)


async def test_a_function_lives_from_creation_to_deletion() -> None:
    async with deployed(role={"AWS_ACCESS_KEY_ID": "of-the-role"}) as (found, api):
        told = await api.get_function(FunctionName="task")
        assert (told["Configuration"]["State"], told["Configuration"]["MemorySize"]) == ("Active", 128)
        answer, first = await call(api, hello=1)
        _, second = await call(api)
        assert answer["StatusCode"] == 200
        assert (first["count"], second["count"], first["pid"]) == (1, 2, second["pid"])
        assert first["key"] == "of-the-role"
        assert 0 < first["left"] <= 30_000
        assert not {"cirrus", "numpy", "aiohttp"} & set(first["modules"])
        assert "got ['hello']" in found.log("task").read_text()
        reports = found.reports
        assert [one.outcome for one in reports] == ["done", "done"]
        assert reports[0].init_seconds > 0 == reports[1].init_seconds
        assert all(one.billed_ms >= 1 and one.gb_seconds > 0 and one.peak_mb > 1 for one in reports)
        assert await refused(deploy(api)) == (409, "ResourceConflictException")
        await api.update_function_configuration(FunctionName="task", Timeout=7, Environment={"Variables": {"A1": "b"}})
        changed = zipped("def handler(event, context):\n    return 'new'\n")
        await api.update_function_code(FunctionName="task", ZipFile=changed)
        await api.get_waiter("function_updated_v2").wait(
            FunctionName="task", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500}
        )
        assert (await call(api))[1] == "new"
        told = await api.get_function_configuration(FunctionName="task")
        assert (told["Timeout"], told["Environment"]) == (7, {"Variables": {"A1": "b"}})
        await api.delete_function(FunctionName="task")
        assert await refused(api.get_function(FunctionName="task")) == (404, "ResourceNotFoundException")


async def test_a_function_has_tags_and_a_log_group() -> None:
    async with emulator(Options(preload=("json",))) as found, client(found) as api:
        await deploy(api, Tags={"a": "1"}, LoggingConfig={"LogFormat": "Text", "LogGroup": "somewhere"})
        told = await api.get_function(FunctionName="task")
        assert (told["Tags"], told["Configuration"]["LoggingConfig"]["LogGroup"]) == ({"a": "1"}, "somewhere")
        name = told["Configuration"]["FunctionArn"]
        await api.tag_resource(Resource=name, Tags={"b": "2", "c": "3"})
        await api.untag_resource(Resource=name, TagKeys=["a", "b"])
        assert (await api.list_tags(Resource=name))["Tags"] == {"c": "3"}
        assert await refused(api.list_tags(Resource=f"{name}x")) == (404, "ResourceNotFoundException")


async def test_who_does_not_know_the_secret_is_refused() -> None:
    async with emulator(Options(preload=("json",))) as found:
        async with client(found, "another") as api:
            assert await refused(api.get_account_settings()) == (403, "InvalidSignatureException")
        async with client(found) as api:
            assert (await api.get_account_settings())["AccountLimit"]["ConcurrentExecutions"] == 1000
    secret = "not-to-be-shown"
    assert secret not in repr(Options(credentials=Credentials("key", secret, secret), role={"a": secret}))


@pytest.mark.parametrize(
    ("event", "kind", "outcome"),
    [
        ({"fail": "so it is"}, "ValueError", "failed"),
        ({"die": 3}, "Runtime.ExitError", "crashed"),
        ({"sleep": 60}, "Sandbox.Timedout", "timeout"),
        ({"hold": 300, "sleep": 60}, "Runtime.ExitError", "memory"),
    ],
)
async def test_whatever_ends_badly_is_told_and_billed(event: dict[str, object], kind: str, outcome: str) -> None:
    async with deployed() as (found, api):
        await api.update_function_configuration(FunctionName="task", Timeout=1 if outcome == "timeout" else 30)
        answer, payload = await call(api, **event)
        assert (answer["FunctionError"], payload["errorType"]) == ("Unhandled", kind)
        assert found.reports[0].outcome == outcome
        if outcome == "timeout":
            assert found.reports[0].billed_ms >= 1000
        assert (await call(api))[1]["count"] == (2 if outcome == "failed" else 1)


@pytest.mark.parametrize("preload", [(), ("json",)], ids=["fresh", "forked"])
async def test_a_function_that_cannot_begin_says_why(preload: tuple[str, ...]) -> None:
    async with emulator(Options(preload=preload)) as found, client(found) as api:
        await deploy(api, data=zipped("import not_there"))
        answer, payload = await call(api)
        assert answer["FunctionError"] == "Unhandled"
        assert payload["errorType"] == "Runtime.ImportModuleError"
        assert found.reports[0].outcome == "init"


async def test_the_log_comes_with_the_answer() -> None:
    async with deployed() as (_, api):
        answer = await api.invoke(FunctionName="task", LogType="Tail", Payload=b'{"x": 1}')
        log = base64.b64decode(answer["LogResult"]).decode()
        assert "got ['x']" in log
        assert "Billed Duration" in log


async def test_events_are_tried_again_after_errors_as_often_as_they_may(tmp_path: Any) -> None:
    async with deployed() as (found, api):
        assert await send(api, once=str(tmp_path / "mark")) == 202
        assert await over(found, 1) == [(1, "done", 2)]
        await api.put_function_event_invoke_config(
            FunctionName="task", MaximumRetryAttempts=0, MaximumEventAgeInSeconds=60
        )
        await send(api, fail="always")
        assert (await over(found, 2))[1] == (2, "failed", 1)


async def test_what_is_to_go_wrong_goes_wrong() -> None:
    plan = scripted({1: Throttle(), 2: Lose(), 3: Duplicate(), 4: Late(0.05), 5: Crash(0.1)})
    async with deployed(plan) as (found, api):
        assert await refused(send(api)) == (429, "TooManyRequestsException")
        await api.put_function_event_invoke_config(FunctionName="task", MaximumRetryAttempts=0)
        for event in ({}, {}, {}, {"sleep": 60}):
            assert await send(api, **event) == 202
        ends = await over(found, 5)
        assert ends == [(2, "lost", 0), (3, "done", 1), (3, "done", 1), (4, "done", 1), (5, "failed", 1)]


async def test_reserved_concurrency_is_a_limit_and_0_stops_everything() -> None:
    async with deployed() as (found, api):
        await api.put_function_concurrency(FunctionName="task", ReservedConcurrentExecutions=1)
        assert await send(api, sleep=0.3) == 202
        while not found.running("task"):
            await found.options.clock.sleep(0.005)
        assert await refused(call(api)) == (429, "TooManyRequestsException")
        assert await send(api) == 202  # it waits
        assert await over(found, 2) == [(1, "done", 1), (3, "done", 1)]
        await api.put_function_concurrency(FunctionName="task", ReservedConcurrentExecutions=0)
        assert await refused(call(api)) == (429, "TooManyRequestsException")
        await send(api)
        assert (await over(found, 3))[2] == (5, "expired", 0)
        await api.delete_function_concurrency(FunctionName="task")
        assert (await call(api))[0]["StatusCode"] == 200


async def test_the_account_has_a_limit_of_its_own() -> None:
    async with deployed(concurrency=1) as (found, api):
        await send(api, sleep=0.3)
        while not found.running("task"):
            await found.options.clock.sleep(0.005)
        assert await refused(call(api)) == (429, "TooManyRequestsException")
        await over(found, 1)


async def test_a_zip_that_leads_out_is_not_unpacked() -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("../out.py", "")
    async with emulator(Options(preload=("json",))) as found, client(found) as api:
        await api.create_function(
            FunctionName="task", Runtime="python3.11", Handler="a.b", Role=ROLE, Code={"ZipFile": data.getvalue()}
        )
        while (told := await api.get_function_configuration(FunctionName="task"))["State"] == "Pending":
            await found.options.clock.sleep(0.005)
        assert told["State"] == "Failed"
        assert "outside" in told["StateReason"]


def test_a_seeded_plan_is_the_same_each_time() -> None:
    plan, other = (seeded(7, throttle=0.2, lose=0.2, duplicate=0.2, late=0.2, crash=0.1) for _ in range(2))
    faults = [plan(number) for number in range(1, 200)]
    assert faults == [other(number) for number in range(1, 200)]
    assert {type(one) for one in faults} == {Throttle, Lose, Duplicate, Late, Crash, type(None)}
