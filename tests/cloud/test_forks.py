"""Workers that are forked from a process which has imported what they import."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from cirrus.clock import SystemClock
from cirrus.cloud import processes
from cirrus.cloud.child import Child, Ended, Spawned
from cirrus.cloud.forks import Forks
from cirrus.cloud.local import LocalInvoker
from cirrus.errors import InvokeError
from cirrus.testing.clock import ManualClock
from cirrus.testing.contracts.invoker import InvokerContract
from tests.cloud.children import assignment, line
from tests.cloud.watching import LONG, next_end, watched

pytestmark = pytest.mark.skipif(not processes.FORKS, reason="workers are forked on Linux only")

COMMAND = (sys.executable, "-m", "tests.cloud.obedient")
ROOT = Path(__file__).parents[2]


@pytest.fixture
async def invoker() -> AsyncIterator[LocalInvoker]:
    async with watched(COMMAND, SystemClock()) as made:
        yield made


class TestForked(InvokerContract):
    pass


async def test_what_a_worker_imports_is_imported_before_it_begins(invoker: LocalInvoker) -> None:
    async with line() as call:
        source = "kept = call(f'{PID} {os.getppid()} {os.getpid()}'); sys.stdin.read()"
        pids = set()
        for slot in range(3):
            await invoker.invoke(assignment(source, slot=slot, shard=call.address))
            imported, parent, pid = map(int, (await call.next())[0].split())
            assert imported == parent
            pids.add((parent, pid))
        assert len(pids) == 3
        assert len({parent for parent, _ in pids}) == 1
        (server,) = psutil.Process().children()
        assert {(server.pid, child.pid) for child in server.children()} == pids


async def test_one_whose_end_is_heard_before_it_is_known_is_told_of_all_the_same(tmp_path: Path) -> None:
    forks = Forks("tests.cloud.obedient", dict(os.environ), os.open(tmp_path / "server", os.O_RDWR | os.O_CREAT))
    words = os.open(tmp_path / "words", os.O_RDWR | os.O_CREAT)
    stdin, mine = os.pipe()
    number, pid = forks.fork((), stdin, words)
    os.close(stdin)
    os.write(mine, b'{"run_id": "finish"}\n')
    assert select.select([forks.ends], [], [], LONG)[0]
    assert forks.hear()
    child = Child(Spawned(pid, mine, None, words, (forks, number)), b"")
    assert await child.wait() == Ended(0, "")
    forks.close()


async def test_chance_is_another_in_each(invoker: LocalInvoker) -> None:
    async with line() as call:
        for slot in range(2):
            await invoker.invoke(assignment("call(str(np.random.random()))", slot=slot, shard=call.address))
        first, second = [(await call.next())[0] for _ in range(2)]
        assert first != second


async def test_it_is_shown_as_its_command_with_pool_slot_and_attempt(invoker: LocalInvoker) -> None:
    async with line() as call:
        await invoker.invoke(assignment("kept = call(str(os.getpid())); sys.stdin.read()", slot=3, shard=call.address))
        pid = int((await call.next())[0])
        words = psutil.Process(pid).cmdline()
        assert " ".join(words).split() == [*COMMAND, "train", "3", "1"]
        assert os.getsid(pid) == pid


@pytest.mark.parametrize(
    ("source", "cause", "detail"),
    [
        ("print('bad', told['token'], file=sys.stderr); sys.exit(3)", "crashed", "exit code 3\nbad [token]"),
        ("sys.exit('words')", "crashed", "exit code 1"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL"),
        ("signal.raise_signal(signal.SIGTERM)", "killed", "SIGTERM"),
        ("sys.exit()", "finished", "exit code 0"),
    ],
)
async def test_its_end_is_told_as_that_of_any_process(
    invoker: LocalInvoker, source: str, cause: str, detail: str
) -> None:
    await invoker.invoke(assignment(source, token="t0p-secret"))
    end = await next_end(invoker)
    assert (end.cause, end.detail) == (cause, detail)


async def test_too_much_memory_at_once_is_an_error_in_the_worker_alone(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("held = bytearray(8 << 30)"))
    end = await next_end(invoker)
    assert (end.cause, end.detail.splitlines()[0]) == ("memory", "MemoryError")


async def test_what_a_worker_has_started_ends_with_it(invoker: LocalInvoker) -> None:
    source = "kept = call('up'); subprocess.Popen(['sleep', '600'], pass_fds=[kept.fileno()]); sys.exit(1)"
    async with line() as call:
        await invoker.invoke(assignment(source, shard=call.address))
        _, connection = await call.next()
        assert await connection.read() == b""  # the last holder of the connection is gone
    assert (await next_end(invoker)).cause == "crashed"


async def test_when_the_server_is_killed_its_workers_end_and_others_can_be_started(invoker: LocalInvoker) -> None:
    async with line() as call:
        await invoker.invoke(assignment("kept = call('up'); sys.stdin.read()", shard=call.address))
        _, connection = await call.next()
        (server,) = psutil.Process().children()
        server.kill()
        assert await connection.read() == b""
        end = await next_end(invoker)
        assert (end.cause, end.detail) == ("killed", "SIGKILL")
        await invoker.invoke(assignment("finish"))
        assert (await next_end(invoker)).cause == "finished"


async def test_a_module_that_cannot_be_imported_is_an_error_with_its_cause() -> None:
    invoker = LocalInvoker((sys.executable, "-m", "tests.cloud.nowhere"), ManualClock())
    with pytest.raises(InvokeError, match=r"No module named 'tests\.cloud\.nowhere'"):
        await invoker.invoke(assignment("finish"))
    await invoker.close()


async def test_after_close_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with watched(COMMAND, SystemClock()) as first:  # the loop makes some things of its own at first use
        await first.invoke(assignment("finish"))
    host = psutil.Process()
    descriptors, threads = host.num_fds(), set(threading.enumerate())
    async with watched(COMMAND, SystemClock(), grace=0.01) as invoker:
        await invoker.invoke(assignment("finish"))
        await invoker.invoke(assignment("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)", slot=1))
        await invoker.invoke(assignment("sys.stdin.read()", slot=2))
        cancelled = asyncio.ensure_future(invoker.invoke(assignment("sys.stdin.read()", slot=3)))
        await asyncio.sleep(0)
        cancelled.cancel()
        late = asyncio.ensure_future(invoker.invoke(assignment("sys.stdin.read()", slot=4)))
        await asyncio.sleep(0)
    await asyncio.gather(late, cancelled, return_exceptions=True)
    assert len([end async for end in invoker.exits()]) == 4
    assert not host.children(recursive=True)
    assert host.num_fds() == descriptors
    assert set(threading.enumerate()) == threads
    assert not list(tmp_path.iterdir())


HOST = """
import asyncio, sys
from cirrus.clock import SystemClock
from cirrus.cloud.local import LocalInvoker
from tests.cloud.children import assignment
async def main():
    invoker = LocalInvoker((sys.executable, "-m", "tests.cloud.obedient"), SystemClock())
    source = "sys.stdout = open(told['shards'][0], 'w'); print(os.getppid(), os.getpid(), flush=True); WAIT"
    await invoker.invoke(assignment(source.replace("WAIT", sys.argv[2]), shard=sys.argv[1]))
    await asyncio.sleep(600)
asyncio.run(main())
"""


@pytest.mark.parametrize("wait", ["sys.stdin.read()", "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
def test_a_worker_and_the_server_end_when_their_host_was_killed(tmp_path: Path, wait: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", HOST, str(pipe), wait], cwd=ROOT) as host:
        with pipe.open() as said:
            pids = [int(word) for word in said.readline().split()]
        ends = [os.pidfd_open(pid) for pid in pids]
        try:
            host.kill()
            for end in ends:
                assert select.select([end], [], [], LONG)[0] == [end]
        finally:
            for end in ends:
                os.close(end)
    assert host.returncode == -signal.SIGKILL
