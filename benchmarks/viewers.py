"""What viewers of the live page cost: training with 200 of them, one of whom never reads, beside training alone.

Run with ``python -m benchmarks.viewers``; rounds with and without viewers take turns, and medians are compared. Viewers
live on machines of their own; here they are one process that takes what processor time is left over (nice 19).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE
from pathlib import Path
from statistics import median

import aiohttp

from benchmarks.setting import setting, write
from cirrus.cloud.places import local
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.page.serving import served
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.runs import start
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs


async def watch(url: str, viewers: int) -> None:
    """Be so many viewers, in a process of their own, of whom the first never reads, until the server ends."""
    base, _, code = url.partition("#")
    port = int(base.rsplit(":", 1)[1].strip("/"))
    headers = {"Origin": base.rstrip("/"), "X-Cirrus-CSRF": "login"}
    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=aiohttp.ClientTimeout()) as http:
        async with http.post(base + "session", json={"code": code}, headers=headers) as answer:
            assert answer.status == 200
        (cookie,) = jar
        stuck = socket.socket()
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", port))
        asking = f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nCookie: {cookie.key}={cookie.value}\r\n\r\n"
        stuck.sendall(asking.encode())
        heard = await asyncio.gather(*(listen(http, base) for _ in range(viewers - 1)), return_exceptions=True)
        stuck.close()
    print(json.dumps({"bytes": sum(one for one in heard if isinstance(one, int))}))


async def listen(http: aiohttp.ClientSession, base: str) -> int:
    heard = 0
    async with http.get(base + "events") as stream:
        async for data in stream.content.iter_any():
            heard += len(data)
    return heard


async def trained(path: Path, store: Path, passes: int, viewers: int) -> float:
    """Samples a second of a run with so many viewers."""
    stages = (
        Prepare(steps=(Bucket(), Hash(bits=16)), test=every(10, at=9), workers=2),
        Train(LogisticRegression(), optimizer=Adagrad(), until=epochs(passes), workers=2),
    )
    async with start(Pipeline(name="viewers", data=criteo(str(path)), stages=stages), on=local(store)) as run:
        if not viewers:
            return (await run.result()).metrics["train"]["samples_per_second"]
        async with served(run) as page:
            watch = ("-m", "benchmarks.viewers", "--watch", page.address(), "--viewers", str(viewers))
            command = ("nice", "-n", "19", sys.executable, *watch)
            watching = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
            rate = (await run.result()).metrics["train"]["samples_per_second"]
        await watching.communicate()
    return rate


async def main(rows: int, passes: int, rounds: int, viewers: int) -> None:
    begun = setting()
    rates: dict[int, list[float]] = {0: [], viewers: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.tsv"
        criteo_like(path, rows, seed=0)
        for number in range(rounds):
            for count in (0, viewers) if number % 2 else (viewers, 0):
                rates[count].append(await trained(path, Path(folder) / "store", passes, count))
                print(f"{count} viewers: {rates[count][-1]:,.0f} samples/s", flush=True)
    ratio = median(rates[viewers]) / median(rates[0])
    print(f"with {viewers} viewers, one stuck: {ratio:.3f} of the throughput without")
    found = {"viewers": viewers, "without": round(median(rates[0])), "with": round(median(rates[viewers]))}
    write("viewers", begun, {**found, "ratio": round(ratio, 3)})


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=100_000)
    options.add_argument("--passes", type=int, default=30)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--viewers", type=int, default=200)
    options.add_argument("--watch", metavar="URL", help="be the viewers")
    given = options.parse_args()
    if given.watch:
        asyncio.run(watch(given.watch, given.viewers))
    else:
        asyncio.run(main(given.rows, given.passes, given.rounds, given.viewers))
