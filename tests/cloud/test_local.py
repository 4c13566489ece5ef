import asyncio
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import uvloop

from cirrus.clock import SystemClock
from cirrus.cloud.base import Exit
from cirrus.cloud.local import LocalInvoker
from cirrus.errors import InvokeError, Throttled
from cirrus.testing.clock import ManualClock
from cirrus.testing.contracts.invoker import InvokerContract
from tests.cloud.children import COMMAND, assignment, line
from tests.cloud.watching import LONG, next_end, watched

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def invoker() -> AsyncIterator[LocalInvoker]:
    async with watched(COMMAND, SystemClock()) as made:
        yield made


class TestLocal(InvokerContract):
    pass


async def test_a_crash_shows_its_code_and_last_lines_and_hides_the_token(invoker: LocalInvoker) -> None:
    source = "print('holding', told['token'], file=sys.stderr); sys.exit(3)"
    await invoker.invoke(assignment(source, token="t0p-secret"))
    end = await next_end(invoker)
    assert (end.cause, end.detail) == ("crashed", "exit code 3\nholding [token]")


async def test_the_end_of_the_last_delivery_of_a_worker_is_told_as_such(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("linger"))
    await invoker.invoke(assignment("finish"))
    first = await next_end(invoker)
    await invoker.stop(first.worker)
    assert (first.alone, (await next_end(invoker)).alone) == (False, True)


async def test_a_token_that_the_kept_words_cut_in_two_is_not_shown(invoker: LocalInvoker) -> None:
    source = "sys.stderr.write(told['token'] + 'x' * (4096 - 20)); sys.exit(3)"
    await invoker.invoke(assignment(source, token="0123456789" * 6))
    assert "456789" not in (await next_end(invoker)).detail


async def test_a_signal_is_named(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("os.kill(os.getpid(), signal.SIGKILL)"))
    end = await next_end(invoker)
    assert (end.cause, end.detail) == ("killed", "SIGKILL")


async def test_a_worker_that_holds_too_much_memory_is_ended_for_it(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("held = b'x' * (200 << 20); sys.stdin.read()", memory=128))
    end = await next_end(invoker)
    assert end.cause == "memory"
    assert end.detail.endswith("MB resident, more than its 128 MB")


async def test_one_huge_allocation_fails_inside_the_worker() -> None:
    source = "kept = call('up'); kept.recv(1); held = bytearray(3 << 30)"
    invoker = LocalInvoker(COMMAND, ManualClock())  # nobody looks at its memory
    async with line() as call:
        await invoker.invoke(assignment(source, memory=128, shard=call.address))
        await call.next()
        call.writers[0].write(b"!")
        end = await next_end(invoker)
    await invoker.close()
    assert end.cause == "memory"
    assert end.detail.startswith("MemoryError\nTraceback")


async def test_a_memory_error_is_told_as_such(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("raise MemoryError"))
    assert (await next_end(invoker)).cause == "memory"


async def test_a_worker_is_ended_at_its_timeout_and_not_before() -> None:
    clock = ManualClock()
    async with line() as call, watched(COMMAND, clock, tick=1.0) as invoker:
        await invoker.invoke(assignment("kept = call('up'); sys.stdin.read()", timeout=900.0, shard=call.address))
        await call.next()
        ending = asyncio.ensure_future(next_end(invoker))
        await clock.advance(899.0)
        await call_again(invoker, call.address)
        await call.next()
        assert not ending.done()
        await clock.advance(1.0)
        end = await ending
        assert (end.cause, end.detail) == ("timeout", "still running after its 900 s")
        assert end.seconds == 900.0


async def call_again(invoker: LocalInvoker, address: str) -> None:
    """Start another worker, so that a kill of the first would have had time to be seen."""
    await invoker.invoke(assignment("kept = call('up'); sys.stdin.read()", slot=1, shard=address))


async def test_a_worker_that_leaves_when_asked_has_finished(invoker: LocalInvoker) -> None:
    source = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); kept = call('up'); sys.stdin.read()"
    async with line() as call:
        told = assignment(source, shard=call.address)
        await invoker.invoke(told)
        await call.next()
        await invoker.stop(told.worker)
        assert (await next_end(invoker)).cause == "finished"


async def test_a_worker_that_does_not_leave_is_killed_after_the_grace() -> None:
    clock = ManualClock()
    source = "signal.signal(signal.SIGTERM, lambda *_: call('asked')); kept = call('up')\nwhile True: time.sleep(600)"
    async with line() as call, watched(COMMAND, clock, grace=5.0, tick=1.0) as invoker:
        told = assignment(source, shard=call.address)
        await invoker.invoke(told)
        await call.next()
        await clock.advance(10.0)
        await invoker.stop(told.worker)
        assert (await call.next())[0] == "asked"
        await invoker.stop(told.worker)  # said twice, it neither asks again nor begins the grace anew
        ending = asyncio.ensure_future(next_end(invoker))
        await clock.advance(4.0)
        await call_again(invoker, call.address)
        assert (await call.next())[0] == "up"
        assert not ending.done()
        await clock.advance(1.0)
        end = await ending
        assert (end.cause, end.detail) == ("killed", "SIGKILL, for it did not leave when it was asked to")


async def test_both_processes_of_a_worker_that_was_invoked_twice_are_stopped(invoker: LocalInvoker) -> None:
    told = assignment("sys.stdin.read()")
    await invoker.invoke(told)
    await invoker.invoke(told)
    await invoker.stop(told.worker)
    ends = [await next_end(invoker), await next_end(invoker)]
    assert [end.worker for end in ends] == [told.worker] * 2


async def test_what_a_worker_has_started_ends_with_it(invoker: LocalInvoker) -> None:
    source = "kept = call('up'); subprocess.Popen(['sleep', '600'], pass_fds=[kept.fileno()]); sys.exit(1)"
    async with line() as call:
        await invoker.invoke(assignment(source, shard=call.address))
        _, connection = await call.next()
        assert await connection.read() == b""  # the last holder of the connection is gone
    assert (await next_end(invoker)).cause == "crashed"


async def test_the_token_is_in_no_argument_and_no_variable(invoker: LocalInvoker) -> None:
    async with line() as call:
        source = "kept = call('up'); sys.stdin.read()"
        await invoker.invoke(assignment(source, shard=call.address, token="t0p-secret"))
        await call.next()
        (child,) = psutil.Process().children()
        assert "t0p-secret" not in " ".join(child.cmdline())
        assert "t0p-secret" not in str(child.environ())


async def test_a_command_that_is_not_there_is_an_error_with_its_cause() -> None:
    invoker = LocalInvoker(("/nowhere/worker",), ManualClock())
    with pytest.raises(InvokeError, match="/nowhere/worker") as caught:
        await invoker.invoke(assignment("finish"))
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    await invoker.close()


async def test_without_descriptors_the_host_lives_and_a_slower_rate_is_asked_for(invoker: LocalInvoker) -> None:
    await invoker.invoke(assignment("finish"))
    await next_end(invoker)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(one.name) for one in Path("/proc/self/fd").iterdir())
    spares = [os.open(os.devnull, os.O_RDONLY) for _ in range(highest)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(spares) + 1, before[1]))
        with pytest.raises(Throttled):
            await invoker.invoke(assignment("finish"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for one in spares:
            os.close(one)
    await invoker.invoke(assignment("finish"))
    assert (await next_end(invoker)).cause == "finished"


async def test_the_loop_turns_while_ten_workers_are_started(invoker: LocalInvoker) -> None:
    turns = 0
    starting = asyncio.gather(*(invoker.invoke(assignment("finish", slot=slot)) for slot in range(10)))
    while not starting.done():
        turns += 1
        await asyncio.sleep(0)
    await starting
    assert turns > 10  # started on the loop itself, they would all be there after one or two


async def test_after_close_nothing_is_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with watched(COMMAND, SystemClock()) as first:  # the loop makes some things of its own at first use
        await first.invoke(assignment("finish"))
    host = psutil.Process()
    descriptors, threads = host.num_fds(), set(threading.enumerate())
    async with watched(COMMAND, SystemClock(), grace=0.01) as invoker:
        await invoker.invoke(assignment("finish"))
        await invoker.invoke(assignment("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"))
        await invoker.invoke(assignment("sys.stdin.read()"))
        cancelled = asyncio.ensure_future(invoker.invoke(assignment("sys.stdin.read()")))
        await asyncio.sleep(0)
        cancelled.cancel()
        late = asyncio.ensure_future(invoker.invoke(assignment("sys.stdin.read()")))
        await asyncio.sleep(0)
    await asyncio.gather(late, cancelled, return_exceptions=True)
    assert len([end async for end in invoker.exits()]) == 4
    assert not host.children()
    assert host.num_fds() == descriptors
    assert set(threading.enumerate()) == threads
    assert not list(tmp_path.iterdir())


async def scenario() -> tuple[Exit, Exit]:
    async with watched(COMMAND, SystemClock()) as invoker:
        lingering = assignment("linger", slot=1)
        await invoker.invoke(assignment("crash"))
        crashed = await next_end(invoker)
        await invoker.invoke(lingering)
        await invoker.stop(lingering.worker)
        return crashed, await next_end(invoker)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_loop_may_run_in_any_thread(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    ends: list[Exit] = []

    def run() -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            ends.extend(runner.run(scenario()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LONG)
    assert [end.cause for end in ends] == ["crashed", "killed"]
    assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before


HOST = """
import asyncio, sys
from cirrus.clock import SystemClock
from cirrus.cloud.local import LocalInvoker
from tests.cloud.children import COMMAND, assignment
async def main():
    invoker = LocalInvoker(COMMAND, SystemClock())
    source = "print(os.getpid(), file=open(f'/proc/{os.getppid()}/fd/1', 'w')); sys.stdin.read()"
    await invoker.invoke(assignment(source))
    await asyncio.sleep(600)
asyncio.run(main())
"""


def test_a_worker_learns_of_its_hosts_death(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", HOST], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as host:
        assert host.stdout is not None
        worker = os.pidfd_open(int(host.stdout.readline()))
        try:
            host.kill()
            assert select.select([worker], [], [], LONG)[0] == [worker]
        finally:
            os.close(worker)
