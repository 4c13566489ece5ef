import asyncio
import os
import signal
import stat
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from cirrus.cloud.child import EVIDENCE, MOST_WORDS, Ended
from cirrus.cloud.processes import CHILD_ENVIRONMENT, Processes
from cirrus.errors import InvokeError, Throttled
from tests.cloud.children import python

LONG = 60.0


@pytest.fixture(params=["pidfd", "thread"])
def _watched_by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "thread":
        monkeypatch.delattr(os, "pidfd_open")


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    made = Processes()
    yield made
    await made.close()


@pytest.mark.usefixtures("_watched_by")
async def test_the_exit_code_is_told(processes: Processes) -> None:
    child = await processes.start(python("sys.exit(7)"), "")
    assert await child.wait() == Ended(7, "")
    assert child.ended == Ended(7, "")
    assert not psutil.pid_exists(child.pid)


@pytest.mark.usefixtures("_watched_by")
async def test_a_signal_is_told_as_its_negative_number(processes: Processes) -> None:
    child = await processes.start(python("sys.stdin.read()"), "")
    child.send(signal.SIGKILL)
    assert (await child.wait()).code == -signal.SIGKILL


@pytest.mark.usefixtures("_watched_by")
async def test_many_waiters_and_callbacks_hear_of_one_end(processes: Processes) -> None:
    child = await processes.start(python("sys.exit(3)"), "")
    heard: list[Ended] = []
    child.when_ended(heard.append)
    ends = await asyncio.gather(child.wait(), child.wait())
    child.when_ended(heard.append)
    await asyncio.sleep(0)
    assert {end.code for end in [*ends, *heard]} == {3}
    assert len(heard) == 2


async def test_a_cancelled_waiter_takes_nothing_from_the_others(processes: Processes) -> None:
    child = await processes.start(python("sys.stdin.read()"), "")
    waiter = asyncio.ensure_future(child.wait())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    child.send(signal.SIGTERM)
    assert (await child.wait()).code == -signal.SIGTERM


async def test_a_host_that_reaps_strangers_leaves_the_code_unknown(processes: Processes) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        child = await processes.start(python("sys.exit(7)"), "")
        assert (await child.wait()).code is None
    finally:
        signal.signal(signal.SIGCHLD, before)


async def test_the_line_reaches_the_input_whatever_its_length(processes: Processes) -> None:
    source = "line = sys.stdin.readline(); print(len(line), line.count('x'), flush=True); sys.stdin.read()"
    child = await processes.start(python(source), "x" * 1_000_000, stdout="line")
    assert await child.line(LONG) == "1000001 1000000"


async def test_input_stays_open_until_the_end(processes: Processes) -> None:
    source = "sys.stdin.readline(); sys.stdin.close(); print('closed', flush=True); time.sleep(600)"
    child = await processes.start(python(source), "", stdout="line")
    assert await child.line(LONG) == "closed"
    assert child.ended is None


async def test_a_process_that_does_not_listen_may_leave(processes: Processes) -> None:
    child = await processes.start(python("os.close(0)"), "x" * 1_000_000)
    assert (await child.wait()).code == 0


async def test_what_is_printed_after_the_line_never_stalls_the_process(processes: Processes) -> None:
    child = await processes.start(python("print('4711'); print('y' * 1_000_000)"), "", stdout="line")
    assert await child.line(LONG) == "4711"
    assert (await child.wait()).code == 0


async def test_a_line_that_comes_with_the_end_is_heard(processes: Processes) -> None:
    child = await processes.start(python("print('4711')"), "", stdout="line")
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # the loop stands still until both have happened
    child._look()
    assert child.ended == Ended(0, "")
    assert await child.line(LONG) == "4711"


async def test_no_line_in_time_is_an_error(processes: Processes) -> None:
    child = await processes.start(python("sys.stdin.read()"), "", stdout="line")
    with pytest.raises(InvokeError, match="printed nothing"):
        await child.line(0.01)


async def test_an_end_instead_of_a_line_is_an_error_with_evidence(processes: Processes) -> None:
    child = await processes.start(python("sys.exit('no port is free')"), "", stdout="line")
    with pytest.raises(InvokeError, match="no port is free"):
        await child.line(LONG)


async def test_the_evidence_is_the_end_of_the_error_stream(processes: Processes) -> None:
    child = await processes.start(python("sys.stderr.write('a' * 9000 + 'the end\\n')"), "")
    ended = await child.wait()
    assert ended.evidence.endswith("aaathe end")
    assert len(ended.evidence) == EVIDENCE - 1
    assert child.evidence() == ended.evidence


async def test_what_is_printed_is_evidence_too(processes: Processes) -> None:
    child = await processes.start(python("print('a last word')"), "")
    assert (await child.wait()).evidence == "a last word"


async def test_a_chatty_process_does_not_fill_the_disk(processes: Processes) -> None:
    source = f"sys.stderr.write('a' * {MOST_WORDS + 1} + 'middle'); print('written', flush=True); sys.stdin.read()"
    child = await processes.start(python(source), "", stdout="line")
    await child.line(LONG)
    child.shorten()
    assert Path(f"/proc/{child.pid}/fd/2").stat().st_size == EVIDENCE
    assert child.evidence().endswith("middle")


async def test_words_are_kept_in_an_unlinked_file_that_only_the_owner_reads(processes: Processes) -> None:
    child = await processes.start(python("sys.stdin.read()"), "")
    assert str(Path(f"/proc/{child.pid}/fd/2").readlink()).endswith("(deleted)")
    assert stat.S_IMODE(Path(f"/proc/{child.pid}/fd/2").stat().st_mode) == 0o600


async def test_the_words_have_no_name_so_that_nothing_of_them_is_left_whoever_is_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    processes = Processes()
    assert not list(tmp_path.iterdir())
    await processes.start(python("sys.stdin.read()"), "")
    assert not list(tmp_path.iterdir())
    await processes.close()
    assert not list(tmp_path.iterdir())


async def test_children_get_a_few_settings_and_the_host_does_not(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CIRRUS_INHERITED", "yes")
    before = dict(os.environ)
    child = await processes.start(python("print('\\n'.join(f'{k}={v}' for k, v in os.environ.items()))"), "")
    found = set((await child.wait()).evidence.splitlines())
    assert {"CIRRUS_INHERITED=yes", *(f"{key}={value}" for key, value in CHILD_ENVIRONMENT.items())} <= found
    assert dict(os.environ) == before


async def test_a_child_leads_a_session_of_its_own(processes: Processes) -> None:
    child = await processes.start(python("sys.stdin.read()"), "")
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


async def test_memory_is_seen_while_it_is_held(processes: Processes) -> None:
    source = "held = b'x' * (50 << 20); print('held', flush=True); sys.stdin.read()"
    child = await processes.start(python(source), "", stdout="line")
    await child.line(LONG)
    assert child.resident() > 50 * 2**20
    await child.stop(LONG)
    assert child.resident() == 0


async def test_stop_asks_first(processes: Processes) -> None:
    source = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', flush=True); time.sleep(600)"
    child = await processes.start(python(source), "", stdout="line")
    await child.line(LONG)
    assert (await child.stop(LONG)).code == 5


STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


async def test_stop_kills_who_does_not_follow(processes: Processes) -> None:
    child = await processes.start(python(STUBBORN), "", stdout="line")
    await child.line(LONG)
    assert (await child.stop(0.01)).code == -signal.SIGKILL


async def test_a_cancelled_stop_kills_at_once(processes: Processes) -> None:
    child = await processes.start(python(STUBBORN), "", stdout="line")
    await child.line(LONG)
    stopping = asyncio.ensure_future(child.stop(LONG))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert (await child.wait()).code == -signal.SIGKILL


async def test_a_suspended_process_can_be_ended(processes: Processes) -> None:
    source = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); print('up', flush=True); time.sleep(600)"
    child = await processes.start(python(source), "", stdout="line")
    await child.line(LONG)
    child.send(signal.SIGSTOP)
    assert (await child.stop(0.01)).code == -signal.SIGKILL


async def test_a_command_that_is_not_there_is_an_error_with_its_cause(processes: Processes) -> None:
    with pytest.raises(InvokeError, match="/nowhere/worker could not be started") as caught:
        await processes.start(("/nowhere/worker",), "")
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    assert not isinstance(caught.value, Throttled)


async def test_a_command_that_may_not_be_run_is_an_error_with_its_cause(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "worker").write_text("#!/bin/sh\n")
    with pytest.raises(InvokeError) as caught:
        await processes.start((str(tmp_path / "worker"),), "")
    assert isinstance(caught.value.__cause__, PermissionError)


async def test_a_command_that_cannot_be_is_an_error(processes: Processes) -> None:
    with pytest.raises(InvokeError):
        await processes.start(("a\0b",), "")


async def test_a_start_that_is_cancelled_leaves_no_process(processes: Processes) -> None:
    for turns in range(5):
        starting = asyncio.ensure_future(processes.start(python("sys.stdin.read()"), ""))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
    await processes.close()
    assert not psutil.Process().children()


async def test_a_start_during_close_is_ended_by_it(processes: Processes) -> None:
    starting = asyncio.ensure_future(processes.start(("sh", "-c", "trap '' TERM; read line; read line"), ""))
    await asyncio.sleep(0)
    await processes.close()
    assert (await starting).ended is not None
    assert not psutil.Process().children()


async def test_two_may_close_at_once_and_a_cancelled_close_can_be_said_again() -> None:
    processes = Processes()
    child = await processes.start(python(STUBBORN), "", stdout="line")
    await child.line(LONG)
    closing = [asyncio.ensure_future(processes.close(LONG)) for _ in range(2)]
    await asyncio.sleep(0)
    closing[0].cancel()
    await asyncio.gather(*closing, return_exceptions=True)
    await processes.close()
    assert closing[0].cancelled()
    assert child.ended is not None


async def test_after_close_nothing_is_left() -> None:
    host, loop_thread = psutil.Process(), threading.current_thread()
    first = Processes()
    await (await first.start(python(""), "")).wait()  # the loop makes some things of its own at first use
    await first.close()
    descriptors, threads = host.num_fds(), set(threading.enumerate())
    processes = Processes()
    spoken = [await processes.start(python("print(1)"), "", stdout="line") for _ in range(3)]
    await spoken[0].wait()
    for _ in range(3):
        await processes.start(python("sys.stdin.read()"), "x" * 200_000)
    with pytest.raises(InvokeError):
        await processes.start(("/nowhere/worker",), "")
    await processes.close()
    assert not host.children()
    assert host.num_fds() == descriptors
    assert set(threading.enumerate()) == threads
    assert loop_thread in threads
