"""Whether the holder of a run is known to be dead."""

import os
import socket
import subprocess
import sys

from cirrus.actors.records import holder, is_gone


def named(pid: int, host: str | None = None) -> str:
    return f"process {pid} on {host or socket.gethostname()}"


def test_who_lives_is_not_gone() -> None:
    assert holder() == named(os.getpid())
    assert not is_gone(holder())


def test_who_has_ended_is_gone_also_before_its_parent_has_looked() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie from now on
        assert is_gone(named(child.pid))
    assert is_gone(named(child.pid))


def test_nothing_is_known_of_other_machines_and_of_names_that_are_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL) as child:
        pass
    assert not is_gone(named(child.pid, "another.machine"))
    assert not is_gone("somebody")
    assert not is_gone("")
