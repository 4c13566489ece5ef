"""Secrets that would be recognised appear in no log, event, journal, object, exception, output or process list."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from cirrus.cli.main import main
from cirrus.errors import CirrusError
from cirrus.store.opening import open_store
from cirrus.testing.seaweed import Seaweed
from tests.cloud.canary import PAUSE, RUN_KEY, SECRET, Watched, forms, sings
from tests.deploy.ground import REGION, bundle, ground
from tests.deploy.moto_server import moto_server

ROOT = Path(__file__).parents[2]
BUCKET = "canary"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as endpoint:
        yield endpoint


@pytest.mark.parametrize("secret", [SECRET.encode(), RUN_KEY], ids=["secret key", "run key"])
def test_a_secret_is_recognised_however_it_is_written(secret: bytes) -> None:
    for form in forms(secret):
        assert sings(b"before " + form + b" after")
    assert sings(json.dumps(secret.decode("latin-1")), f"{secret!r}")
    assert not sings("nothing", b"\x00" * 64)


def test_a_secret_in_an_argument_or_a_variable_is_seen() -> None:
    line = [sys.executable, "-c", "print(1, flush=True); input()", SECRET]
    child = subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LEAK": RUN_KEY.hex()}
    )
    assert child.stdout is not None
    child.stdout.readline()
    with Watched(child) as watched:
        while not watched.variables:
            time.sleep(PAUSE)
        child.communicate(b"\n")
    assert sings(*watched.lines)
    assert sings(*watched.variables)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("place", ["local", "emulator"])
def test_a_run_does_not_tell(place: str, server: Seaweed, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/{place}?endpoint={server.endpoint}&region=us-east-1"
    line = [sys.executable, "-m", "tests.cloud.canary_run", place, url, str(tmp_path)]
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        child = subprocess.Popen(line, cwd=ROOT, stdout=stdout, stderr=stderr)
        try:
            with Watched(child) as watched:
                assert child.wait() == 0, err.read_text()[-2000:]
        finally:
            child.kill()
            child.wait()
    said, objects = out.read_text() + err.read_text(), asyncio.run(everything(url))
    assert {word for word in ("RunFinished", "InputError", "DEBUG:botocore", "over") if word not in said} == set()
    assert {word for word in ("journal", "events") if not any(word in name for name in objects)} == set()
    assert any("cirrus.actors.host" in one for one in watched.lines), watched.lines
    assert sings(out.read_bytes(), err.read_bytes()) == []
    assert sings(*watched.lines) == []
    assert sings(*objects, *objects.values()) == []
    assert RUN_KEY.hex() not in " ".join(watched.variables)


async def everything(url: str) -> dict[str, bytes]:
    """All objects of a store."""
    store = open_store(url)
    try:
        return {one.key: await store.get(one.key) async for one in store.list("")}
    finally:
        await store.close()


@pytest.mark.parametrize("secret", [SECRET, "another"], ids=["known", "stranger"])
async def test_the_client_of_s3_does_not_tell(
    secret: str, server: Seaweed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    here = f"endpoint={server.endpoint}&region=us-east-1"
    with monkeypatch.context() as patch:
        if secret == "another":
            patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        told = [
            await complaint(f"s3://nowhere-at-all?{here}", "a"),
            await complaint(f"s3://{BUCKET}?{here}", "a"),
            await complaint("s3://nowhere-at-all?endpoint=http://127.0.0.1:1&region=us-east-1", "a"),
            await complaint(f"s3://{BUCKET}?endpoint={server.endpoint}&region=us-east-1&owner=123456789012", "../a"),
        ]
    assert all(told)
    assert caplog.text
    assert sings(*told, caplog.text) == []


async def complaint(url: str, key: str) -> str:
    """The whole error of a request, with all that led to it."""
    store = open_store(url)
    try:
        await store.get(key)
    except CirrusError as error:
        return "".join(traceback.format_exception(error)) + repr(error) + repr(store) + repr(vars(store))
    finally:
        await store.close()
    return ""


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_what_deploys_does_not_tell(
    moto: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    path = tmp_path / "bundle.zip"
    path.write_bytes(bundle())
    async with ground(moto, monkeypatch) as place:
        base = ["--bucket", "canary-bucket", "--region", REGION]
        reached = [word for name, url in place.endpoints.items() for word in ("--endpoint", f"{name}={url}")]
        nowhere = ["--endpoint", "http://127.0.0.1:1"]
        ends = [
            await asyncio.to_thread(main, words)
            for words in (
                ["deploy", *base, *reached, "--bundle", str(path), "--dry-run"],
                ["deploy", *base, *reached, "--bundle", str(path)],
                ["deploy", *base, *reached, "--bundle", str(path), "--json", "--memory", "256"],
                ["doctor", *base, *reached],
                ["doctor", *base, *nowhere],
                ["iam", *base, *reached],
                ["deploy", *base, "--template", "terraform"],
                ["deploy", *base, *nowhere, "--bundle", str(path)],
            )
        ]
        assert ends == [0, 0, 0, 4, 4, 0, 0, 4]
        function = await place.ask("lambda", "get_function", FunctionName="cirrus-worker")
        role = {"RoleName": f"cirrus-worker-{REGION}"}
        made = [
            function,
            await place.ask("iam", "get_role", **role),
            await place.ask("iam", "get_role_policy", **role, PolicyName="cirrus-worker"),
            await place.ask("s3", "get_bucket_tagging", Bucket="canary-bucket"),
            await place.ask("s3", "get_bucket_policy", Bucket="canary-bucket"),
        ]
        assert await asyncio.to_thread(main, ["destroy", *base, *reached]) == 0
    told = capsys.readouterr()
    assert ("created" in told.out, "cirrus: " in told.err, "botocore" in caplog.text) == (True, True, True)
    assert sings(told.out, told.err, caplog.text, *map(repr, made), repr(place), repr(place.lambdas.options)) == []
