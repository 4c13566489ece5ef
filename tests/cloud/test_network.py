"""Workers need nothing but connections that they open themselves: they work in a network that nobody can get into."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cirrus.clock import SystemClock
from cirrus.cloud.aws import LambdaFunction
from cirrus.emulator.emulator import Options
from cirrus.emulator.hosting import Hosted, host
from cirrus.emulator.identity import NAME, role_for
from cirrus.events import WorkerStarted
from cirrus.runs import start
from tests.chaos.ground import Oracle
from tests.cloud.gates import lead_out, listen_at
from tests.cloud.lambda_ground import BUCKET, ROOT, Ground, Place
from tests.cloud.sockets import listening

APART = ("unshare", "-n", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def apart_is_possible() -> bool:
    """Whether this user may make networks here."""
    try:
        return subprocess.run([*APART, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Enclosed:
    """An emulator in a network of its own: where its API is in ours, and how a port of ours is made known there."""

    endpoint: str
    open_port: Callable[[int], None]


@asynccontextmanager
async def enclosed(role: dict[str, str]) -> AsyncIterator[Enclosed]:
    """The emulator, its API, and the gates."""
    with tempfile.TemporaryDirectory(prefix="gates-") as name:
        folder = Path(name)
        command = (*APART, sys.executable, "-m", "tests.cloud.enclosed")
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe)
        assert child.stdin is not None
        assert child.stdout is not None
        words = child.stdin
        words.write(json.dumps({"folder": name, "role": role}).encode() + b"\n")
        assert await child.stdout.readline() == b"ready\n"
        outward, inward = await lead_out(folder / "out"), await listen_at(0, folder / "in")
        (port,) = inward.ports
        try:
            yield Enclosed(f"http://127.0.0.1:{port}", lambda port: words.write(f"{port}\n".encode()))
        finally:
            words.close()
            await child.wait()
            for gate in (outward, inward):
                await gate.close()


@pytest.mark.skipif(not apart_is_possible(), reason="making a network namespace is not permitted here")
@pytest.mark.timeout(300)
@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_workers_work_where_nobody_can_call_them(tmp_path: Path, ground: Ground) -> None:
    oracle = Oracle(rows=640, passes=4, pause=0.01)
    async with enclosed(await role_for("s3://")) as found:

        def opened(shards: tuple[str, ...]) -> tuple[str, ...]:
            for url in (*shards, ground.server.endpoint):
                found.open_port(urlsplit(url).port or 0)
            return shards

        at = LambdaFunction(
            name=NAME, region="us-east-1", endpoint_url=found.endpoint, credentials=Options().credentials
        )  # fmt: skip
        await host(at, Hosted(512, 60, ground.extra), SystemClock())
        place = Place(
            bucket=BUCKET, function=NAME, region="us-east-1", endpoint_url=found.endpoint,
            s3_endpoint_url=ground.server.endpoint, opened=opened,
        )  # fmt: skip
        seen = 0
        async with start(oracle.pipeline(tmp_path, oracle.train(workers=2)), on=place) as run:
            async for event in run.events():
                if isinstance(event, WorkerStarted) and event.stage == "train":
                    seen += 1
                    process = Path(f"/proc/{event.pid}")
                    assert (process / "ns/net").readlink() != Path("/proc/self/ns/net").readlink()
                    interfaces = (process / "net/dev").read_text().splitlines()[2:]
                    assert [line.partition(":")[0].strip() for line in interfaces] == ["lo"]
                    assert listening(event.pid) == []
            result = await run.result()
    oracle.check(result)
    assert seen == 2
