"""The doctor names each thing that is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from cirrus.cli.main import main
from cirrus.clock import SystemClock
from cirrus.cloud.hosts import new_authority
from cirrus.deploy.deployment import Deployment
from cirrus.deploy.doctor import Doctor, Finding, Wants
from cirrus.deploy.services import services
from cirrus.deploy.stamps import Stamp
from cirrus.errors import PipelineError
from tests.actors.served import Served, served
from tests.deploy.front import front, refused
from tests.deploy.ground import REGION, STAMP, Ground, bundle, ground, session
from tests.deploy.served import serving

NUMBERS = count()
CODE = bundle()

IDENTITY = """<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>
<Arn>arn:aws:iam::123456789012:user/me</Arn><UserId>me</UserId><Account>123456789012</Account>
</GetCallerIdentityResult></GetCallerIdentityResponse>"""
ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>{code}</Code><Message>no</Message></Error></ErrorResponse>"""


def fresh(**more: Any) -> Deployment:
    number = next(NUMBERS)
    return Deployment(bucket=f"patient-{number}", region=REGION, function=f"patient{number}", **more)


@pytest.fixture
async def place(moto: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ground]:
    async with ground(moto, monkeypatch) as found:
        yield found


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Served]:
    """A host of shards, with an authority of its own."""
    async with served(tmp_path / "host") as one:
        yield one


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an authority that has signed nothing."""
    path = tmp_path_factory.mktemp("stranger") / "ca.pem"
    path.write_text(new_authority("a stranger", SystemClock().wall(), 1.0).ca)
    return path


async def look(
    place: Ground, one: Deployment, *shards: str, workers: int = 1, stamp: Stamp = STAMP, ca: Path | None = None
) -> dict[str, Finding]:
    wants = Wants(workers, stamp, shards, None if ca is None else str(ca))
    doctor = Doctor(place.services, one, wants, SystemClock())
    return {finding.name: finding async for finding in doctor.findings()}


def wrong(found: dict[str, Finding]) -> list[str]:
    """The names of what is missing; each has a remedy."""
    assert all(one.remedy for one in found.values() if one.state != "fine")
    return [name for name, one in found.items() if one.state == "wrong"]


async def test_nothing_is_missing_where_all_is_there(place: Ground, host: Served) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    found = await look(place, one, host.url, workers=1000, ca=host.ca)
    assert wrong(found) == []
    assert list(found) == [
        "credentials", "clock", "bucket", "bucket settings", "function", "version", "bundle", "events", "concurrency",
        "prices", "shard",
    ]  # fmt: skip
    assert await place.deploy(one, CODE) == [], "a look changes nothing"


async def test_nothing_is_there(place: Ground) -> None:
    one = fresh()
    found = await look(place, one)
    assert wrong(found) == ["bucket", "function"]
    assert found["bucket"].found == f"there is no bucket {one.bucket}"
    assert found["function"].found == f"there is no function {one.function} in {REGION}"
    assert all("cirrus deploy" in found[name].remedy for name in ("bucket", "function"))


async def test_credentials_are_missing(place: Ground, moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    async with services(REGION, place.endpoints) as found:
        told = await look(replace(place, services=found), fresh(), "wss://127.0.0.1:1")
    assert wrong(told) == ["credentials", "shard"]
    assert "no AWS credentials were found" in told["credentials"].found
    assert "AWS_ACCESS_KEY_ID" in told["credentials"].remedy
    assert told["clock"].state == "unknown"
    assert not told.keys() & {"bucket", "function"}, "nobody could look"


@pytest.mark.parametrize(("code", "said"), [("ExpiredToken", "expired"), ("InvalidClientTokenId", "not accept")])
async def test_credentials_are_not_good(code: str, said: str, place: Ground) -> None:
    async with sts(ERROR.format(code=code), status=403) as url, services(REGION, {"sts": url}) as found:
        told = await look(replace(place, services=found), fresh())
    assert wrong(told) == ["credentials"]
    assert said in told["credentials"].found
    assert told["clock"].state == "fine", "a refusal tells the time as well"


@pytest.mark.parametrize(("seconds", "said"), [(-400, "400 s ahead of"), (400, "400 s behind")])
async def test_the_clock_is_wrong(seconds: int, said: str, place: Ground) -> None:
    one = fresh()
    async with sts(IDENTITY, seconds) as url, services(REGION, {**place.endpoints, "sts": url}, session()) as found:
        told = await look(replace(place, services=found), one)
    assert told["clock"].state == "wrong"
    assert abs(int(told["clock"].found.split()[0]) - 400) <= 30
    assert said.partition(" s ")[2] in told["clock"].found
    assert "clock" in told["clock"].remedy


async def test_nobody_is_there_to_ask(place: Ground) -> None:
    async with services(REGION, {"sts": "http://127.0.0.1:1"}, session()) as found:
        told = await look(replace(place, services=found), fresh())
    assert wrong(told) == ["credentials"]
    assert "Could not connect" in told["credentials"].found
    assert "--endpoint" in told["credentials"].remedy
    assert told["clock"].state == "unknown"


async def test_the_clock_may_be_a_little_wrong(place: Ground) -> None:
    async with sts(IDENTITY, 100) as url, services(REGION, {**place.endpoints, "sts": url}, session()) as found:
        assert (await look(replace(place, services=found), fresh()))["clock"].state == "fine"


async def test_the_bucket_lacks_its_settings(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    await place.ask("s3", "delete_bucket_policy", Bucket=one.bucket)
    found = await look(place, one)
    assert wrong(found) == ["bucket settings"]
    assert found["bucket settings"].found == "not set: TLS only"
    assert "bucket settings" not in await look(place, replace(one, own_bucket=False))


async def test_the_function_has_another_version(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    found = await look(place, one, stamp=replace(STAMP, version="2.0.0"))
    assert wrong(found) == ["version"]
    assert found["version"].found == "the function has cirrus 1.2.3, here is 2.0.0"
    assert "cirrus deploy" in found["version"].remedy
    assert "bundle" not in found, "of another version it has other code"


async def test_the_function_does_not_tell_its_version(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    await place.ask("lambda", "update_function_configuration", FunctionName=one.function, Environment={"Variables": {}})
    assert wrong(await look(place, one)) == ["version"]


async def test_the_bundle_is_too_old(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    found = await look(place, one, stamp=replace(STAMP, source="fedcba9876543210"))
    assert wrong(found) == ["bundle"]
    assert found["bundle"].found.startswith("too old")
    assert "cirrus deploy" in found["bundle"].remedy


async def test_events_would_be_tried_again(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    await place.ask("lambda", "delete_function_event_invoke_config", FunctionName=one.function)
    found = await look(place, one)
    assert wrong(found) == ["events"]
    assert "cirrus deploy" in found["events"].remedy


async def test_too_few_may_run_at_a_time(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)
    found = await look(place, one, workers=1001)
    assert wrong(found) == ["concurrency"]
    assert found["concurrency"].found == "1000 executions left in the account, 1001 are wanted"
    assert "Service Quotas" in found["concurrency"].remedy
    await place.ask("lambda", "put_function_concurrency", FunctionName=one.function, ReservedConcurrentExecutions=0)
    found = await look(place, one)
    assert wrong(found) == ["concurrency"]
    assert found["concurrency"].found.startswith(f"0 executions reserved for {one.function}")
    assert "delete-function-concurrency" in found["concurrency"].remedy


async def test_a_shard_does_not_answer(place: Ground, stranger: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        url = f"wss://127.0.0.1:{taken.getsockname()[1]}"
        found = await look(place, fresh(), url, ca=stranger)
    assert "shard" in wrong(found)
    assert found["shard"].found.startswith(f"{url}: ")
    assert "cirrus shard serve" in found["shard"].remedy


async def test_a_shard_is_somebody_else(place: Ground, host: Served, stranger: Path, tmp_path: Path) -> None:
    url = host.url
    assert "certificate" in (await look(place, fresh(), url, ca=stranger))["shard"].found
    assert "cannot be read" in (await look(place, fresh(), url, ca=tmp_path / "none"))["shard"].found
    (tmp_path / "empty").touch()
    assert "cannot be read" in (await look(place, fresh(), url, ca=tmp_path / "empty"))["shard"].found
    assert "CIRRUS_SHARD_CA" in (await look(place, fresh(), url))["shard"].found
    with pytest.raises(PipelineError, match="wss://host:port"):
        await look(place, fresh(), "http://127.0.0.1:1")


async def test_what_may_not_be_seen_is_not_wrong(place: Ground) -> None:
    one = fresh()
    await place.deploy(one, CODE)

    def strict(request: web.Request) -> web.Response | None:
        seen = request.path.endswith("/configuration")
        return None if seen else refused(403, "AccessDeniedException", "not authorized")

    async with front(place.lambdas.endpoint, strict) as url, lambda_at(place, url) as seen:
        told = await look(seen, one)
    assert wrong(told) == []
    assert [name for name, one in told.items() if one.state == "unknown"] == ["events", "concurrency"]
    assert "cirrus iam deployer" in told["events"].remedy


async def test_these_credentials_may_nothing(place: Ground) -> None:
    async with front("", lambda _: refused(403, "AccessDeniedException", "no")) as url, lambda_at(place, url) as seen:
        told = await look(seen, fresh())
    assert "function" in wrong(told)
    assert "cirrus iam driver" in told["function"].remedy


async def test_the_region_has_no_prices(place: Ground) -> None:
    async with services("af-south-1", place.endpoints, session()) as found:
        told = await look(replace(place, services=found), replace(fresh(), region="af-south-1"))
    assert "prices" in wrong(told)
    assert told["prices"].remedy == "cirrus prices --refresh"


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_the_command_says_it_to_people_and_machines(place: Ground, capsys: pytest.CaptureFixture[str]) -> None:
    one = fresh()
    words = ["--bucket", one.bucket, "--region", REGION, "--function", one.function]
    words += [word for name, url in place.endpoints.items() for word in ("--endpoint", f"{name}={url}")]
    assert await asyncio.to_thread(main, ["doctor", *words]) == 4
    told = capsys.readouterr()
    assert told.err == "cirrus: 2 of 5 are not as a run needs them: bucket, function\n"
    lines = told.out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok", "ok", "MISSING", "->", "MISSING", "->", "ok"]
    assert await asyncio.to_thread(main, ["doctor", *words, "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert found["missing"] == ["bucket", "function"]
    assert {one["name"]: one["state"] for one in found["checks"]}["bucket"] == "wrong"
    assert await asyncio.to_thread(main, ["doctor", *words, "--workers", "0"]) == 2


@asynccontextmanager
async def lambda_at(place: Ground, url: str) -> AsyncIterator[Ground]:
    """The same, with Lambda at that URL."""
    async with services(REGION, {**place.endpoints, "lambda": url}, session()) as found:
        yield replace(place, services=found)


@asynccontextmanager
async def sts(body: str, skew: float = 0.0, status: int = 200) -> AsyncIterator[str]:
    """A server that knows who everybody is, and whose clock differs."""

    async def answer(_: web.Request) -> web.Response:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=skew), usegmt=True)
        return web.Response(body=body.encode(), status=status, content_type="text/xml", headers={"Date": date})

    app = web.Application()
    app.router.add_post("/", answer)
    async with serving(app) as url:
        yield url
