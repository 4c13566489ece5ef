"""Writes that kill: ``python -m tests.chaos.doom`` is a shard, and with ``worker`` a worker, that dies at one.

What it is to die of stands in its environment. Writes are known by who makes them and by their key, not by their
place in the row of all, which is another each time.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

from cirrus.actors import host, shard_process, worker, worker_process
from cirrus.store.base import ObjectStore
from cirrus.store.opening import open_store
from cirrus.testing.crashing import kill
from cirrus.testing.stores import MeddledStore, Request
from tests.chaos.marks import MARK, marked

DOOM = "CIRRUS_TEST_DOOM"
SHARD = (sys.executable, "-m", "tests.chaos.doom")
WORKER = (*SHARD, "worker")
OPENED = "open_store"
NAMING = ("replace", "link")
"""The calls of the operating system by which the files of a store get their names."""

SNAPSHOTS = ("shards/000/000000000000", "shards/000/000000000001", "shards/000/000000000002")
"""Those that a run is sure to have, for it takes its time until the last of them; that one makes the first go."""

LEASE = re.compile(r"(?<=/\d{6})-\d+")
"""The number of a lease in keys of what workers have prepared; it is another where the control actor comes late."""

By = Literal["driver", "worker", "shard"]
When = Literal["before", "half", "named", "after"]


@dataclass(frozen=True, slots=True)
class Write:
    """A write of a run; ``key`` is within the run's folder, without the numbers of leases.

    ``behind``: for the key that is written again and again, the last other one that the process has written before.
    """

    by: By
    kind: str
    key: str
    behind: str = ""


@dataclass(frozen=True, slots=True)
class Doom:
    """Who makes ``write`` for the first time dies ``when`` it says, ``alone`` or with all else of the run; once.

    ``half``: half of its file is written, which has no name yet. ``named``: the file has its name, and neither was that
    flushed to the disk nor the caller told. Notes are kept in ``folder``.
    """

    folder: str
    write: Write | None = None
    when: When = "before"
    alone: bool = True

    def __str__(self) -> str:
        one = self.write
        if one is None:
            return "undisturbed"
        behind = f" (behind {one.behind})" if one.behind else ""
        dead = "it" if self.alone else "everything"
        return f"{dead} dies {self.when} the {one.by}'s {one.kind} of {one.key}{behind}"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Doom:
        given: dict[str, Any] = json.loads(text)
        write = None if given["write"] is None else Write(**given.pop("write"))
        return cls(**{**given, "write": write})

    @property
    def hit(self) -> bool:
        """Whether somebody has died of it."""
        return self._hit.exists()

    @property
    def _hit(self) -> Path:
        return Path(self.folder) / "hit"

    @property
    def notes(self) -> Path:
        """The file of all writes, a line each."""
        return Path(self.folder) / "writes"

    def written(self) -> tuple[Write, ...]:
        """The writes of all processes, each once, in the order in which they were begun."""
        lines = self.notes.read_text().splitlines()
        return tuple(dict.fromkeys(Write(**json.loads(line)) for line in lines))

    def note(self, write: Write) -> None:
        with self.notes.open("a") as file:
            file.write(json.dumps(asdict(write)) + "\n")

    def claim(self) -> bool:
        """Whether it is this process that is to die: once nobody else has."""
        try:
            self._hit.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def strike(self) -> NoReturn:
        """Die, and with it all that is to."""
        while not self.alone and (others := set(marked(os.environ[MARK])) - {os.getpid()}):
            for pid in sorted(others, key=lambda pid: pid == os.getppid()):  # with whom this process may die
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        kill()


class Doomed:
    """A process whose writes are watched."""

    def __init__(self, doom: Doom, by: By) -> None:
        self._doom = doom
        self._by = by
        self._last = ""
        self._fatal: Request | None = None
        for name in NAMING:
            setattr(os, name, self._naming(getattr(os, name)))

    def store(self, inner: ObjectStore) -> ObjectStore:
        """The store as the process is to use it."""
        return MeddledStore(inner, self._before, self._after)

    async def _before(self, request: Request) -> None:
        if not request.writes:
            return
        write = self._named(request)
        self._doom.note(write)
        if write == self._doom.write and self._doom.claim():
            self._fatal = request
            if self._doom.when == "before":
                self._doom.strike()

    async def _after(self, request: Request) -> None:
        if request is self._fatal and self._doom.when == "after":
            self._doom.strike()

    def _named(self, request: Request) -> Write:
        key = LEASE.sub("", request.key.split("/", 2)[2])
        if key == "holder.json":
            return Write(self._by, request.kind, key, self._last)
        if not key.startswith("events/"):  # these are written beside the others
            self._last = key
        return Write(self._by, request.kind, key)

    def _naming(self, call: Callable[..., None]) -> Callable[..., None]:
        def named(source: Path, target: Path) -> None:
            fatal = self._fatal is not None and str(target).endswith(self._fatal.key)
            if fatal and self._doom.when == "half":
                os.truncate(source, source.stat().st_size // 2)
                self._doom.strike()
            call(source, target)
            if fatal and self._doom.when == "named":
                self._doom.strike()

        return named


def main() -> None:
    """Be a worker, or a shard."""
    doomed = Doomed(Doom.from_json(os.environ[DOOM]), "worker" if sys.argv[1:] else "shard")
    for module in (worker, shard_process):
        setattr(module, OPENED, lambda url, *begin: doomed.store(open_store(url, *begin)))
    if sys.argv[1:]:
        worker_process.main()
    else:
        shard_process.main(host.open_parts)


if __name__ == "__main__":
    main()
