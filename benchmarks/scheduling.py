"""What it costs to decide about ten thousand workers, and how fast a thousand are asked for.

    python -m benchmarks.scheduling

First the machine that decides for a run's pools, alone: whole generations of workers come, lose their line and are
back, leave and are followed by others, and time passes; microseconds of processor time a decision, an event each. Then
the requests for a thousand workers as a run on Lambda sends them, as many at a time as its pools do, to an emulator in
another process, whose function ends at once.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
import zipfile
from asyncio.subprocess import PIPE
from collections import defaultdict
from collections.abc import Iterable
from statistics import median

import uvloop

from benchmarks.setting import setting, write
from cirrus.clock import SystemClock
from cirrus.cloud.aws import LambdaFunction
from cirrus.cloud.base import Assignment
from cirrus.cloud.lambda_code import Code, create
from cirrus.cloud.lambda_invoker import LambdaInvoker, open_client
from cirrus.core import messages, roster, slots
from cirrus.core.ids import WorkerId
from cirrus.core.slots import PoolPolicy
from cirrus.emulator.emulator import Options, emulator
from cirrus.emulator.identity import NAME, ROLE
from cirrus.store.sigv4 import Credentials

SLOTS = 10_000
WORKERS = 1000
AT_ONCE = PoolPolicy().max_requests
ROUNDS = 5
POOL = "train"

Figures = dict[str, list[float]]


class Deciding:
    """A roster with one pool, its clock, and the seconds that each kind of event took."""

    def __init__(self) -> None:
        self._roster = roster.Roster(PoolPolicy())
        self._said = 0
        self._now = 0.0
        self._asked: list[WorkerId] = []
        self.spent: Figures = defaultdict(list)

    def tell(self, what: str, event: roster.RosterEvent) -> None:
        """One event; whom it asks for is remembered."""
        begin = time.process_time()
        commands = self._roster.handle(event)
        self.spent[what].append(time.process_time() - begin)
        self._said += sum(isinstance(one, roster.Say) for one in commands)
        self._asked += [one.worker for one in commands if isinstance(one, slots.Invoke)]

    def hear(self, what: str, words: Iterable[messages.ToDriver]) -> None:
        """What the control actor says, which takes in what it is told as often as time passes."""
        for number, one in enumerate(words):
            self.tell(what, roster.Heard(self._now, one))
            if number % 1000 == 0:
                self.passes()

    def passes(self) -> None:
        self._now += 0.05  # so that whoever is back after all of them have gone is not taken for dead
        self.tell("Took", roster.Heard(self._now, messages.Took(self._said)))
        self.tell("Tick", slots.Tick(self._now))

    def come(self, what: str) -> list[WorkerId]:
        """All who are asked for speak, until nobody is asked for any more."""
        came: list[WorkerId] = []
        while self._asked:
            asked, self._asked = self._asked, []
            self.hear(what, (messages.WorkerSeen(worker, 1) for worker in asked))
            came += asked
        self._now += 10.0  # long enough to be replaced at once
        return came

    def live(self) -> None:
        """The lives of all workers."""
        self.tell("open", roster.Opened(self._now, messages.OpenPool(POOL, "work", None, 100, 10.0), SLOTS))
        here = self.come("come")
        self.hear("line lost", (messages.WorkerLeft(worker, "lost", "reset") for worker in here))
        self.hear("line back", (messages.WorkerSeen(worker, 1) for worker in here))
        self.hear("leave", (messages.WorkerLeft(worker, "deadline", "") for worker in here))
        for worker in self.come("follow"):
            self.tell("crash", slots.Exited(self._now, worker, "crashed", f"signal in {worker.slot}"))
        assert len(self.come("replace")) == SLOTS
        assert self._roster.counts[POOL].running == SLOTS
        for _ in range(1000):
            self.passes()


def decisions() -> dict[str, float]:
    """Microseconds a decision, by what happened; opening decides about each slot at once."""
    found: Figures = defaultdict(list)
    for _ in range(ROUNDS):
        deciding = Deciding()
        deciding.live()
        for what, spent in deciding.spent.items():
            found[what].append(1e6 * sum(spent) / (SLOTS if what == "open" else len(spent)))
    return {what: round(median(values), 1) for what, values in found.items()}


async def serve() -> None:
    """Be an emulator until the end of input; a few executions at a time."""
    options = Options(preload=(), concurrency=2)
    async with emulator(options) as found:
        keys = options.credentials
        print(found.endpoint, keys.access_key, keys.secret_key, flush=True)
        await asyncio.to_thread(sys.stdin.read)


def function() -> Code:
    """A function that does nothing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("empty.py", "def handler(event, context):\n    return {}\n")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Code(
        data=file.getvalue(), handler="empty.handler", python=version, architecture="x86_64", memory=600, timeout=60,
        role=ROLE,
    )  # fmt: skip


async def requests(at: LambdaFunction) -> float:
    """Seconds until the last of the workers has been asked for and accepted."""
    invoker, room = LambdaInvoker(at, SystemClock()), asyncio.Semaphore(AT_ONCE)

    async def ask(slot: int) -> None:
        worker = WorkerId(POOL, slot, 1)
        async with room:
            await invoker.invoke(Assignment("b", 0, worker, "train", ("http://127.0.0.1:1",), "memory:", "", 600, 60.0))

    begin = time.perf_counter()
    await asyncio.gather(*(ask(slot) for slot in range(WORKERS)))
    seconds = time.perf_counter() - begin
    await invoker.close()
    return seconds


async def main() -> None:
    before = setting()
    spent = decisions()
    print("microseconds a decision:", spent, flush=True)
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.scheduling", "serve", stdin=PIPE, stdout=PIPE
    )
    assert server.stdout is not None
    endpoint, access, secret = (await server.stdout.readline()).decode().split()
    at = LambdaFunction(name=NAME, region="us-east-1", endpoint_url=endpoint, credentials=Credentials(access, secret))
    client = await open_client(at)
    await create(client, function(), SystemClock())
    await client.close()
    seconds = []
    for _ in range(ROUNDS):
        seconds.append(await requests(at))
        print(f"{WORKERS} workers asked for in {seconds[-1]:.2f} s", flush=True)
    await server.communicate(b"")
    found = {
        "slots": SLOTS, "decision_us": spent, "workers": WORKERS, "at_once": AT_ONCE,
        "seconds": round(median(seconds), 2), "runs": [round(one, 2) for one in seconds],
    }  # fmt: skip
    write("scheduling", before, found)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
