"""Which sockets a process has, as the system tells of it in the process's own network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

LISTEN = "0A"


def _inodes(pid: int) -> set[str]:
    found = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            named = re.fullmatch(r"socket:\[(\d+)\]", str(path.readlink()))
        except OSError:
            continue
        if named:
            found.add(named[1])
    return found


def _sockets(pid: int) -> Iterator[tuple[str, str, str]]:
    """Local address, state and inode of every TCP socket in the process's network."""
    for name in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{name}")
        for line in path.read_text().splitlines()[1:] if path.exists() else []:
            fields = line.split()
            yield fields[1], fields[3], fields[9]


def listening(pid: int) -> list[str]:
    """The addresses at which the process itself takes connections."""
    own = _inodes(pid)
    return [address for address, state, inode in _sockets(pid) if state == LISTEN and inode in own]
