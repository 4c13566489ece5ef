"""Runs that are never left in peace: workers, shards and the driver die at random for minutes, and nothing is lost.

    scripts/soak --minutes 20 [--seed 0]

Each round is a run of the counting oracle on 3 shards whose driver is a process of its own, taken up again whenever it
is killed. Deaths come as Poisson processes from fixed seeds. A round ends exact, or the soak ends with its seed. Beside
that nothing may be left or grow: processes, temporary files and folders, open files, the memory of a shard.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil

from tests.chaos.drive import Task
from tests.chaos.drivers import DriverProcess, driver
from tests.chaos.reaper import Reaper, Victim

WORKERS, SHARDS = 4, 3
RATES = {"worker": 0.4, "shard": 0.08, "driver": 0.05}
"""Deaths a second, of all workers, of all shards, and of the driver."""

LOOK = 1.0
GROWTH = 24 * 2**20
"""Bytes by which a shard may grow in its life, behind its first seconds."""

FILES = 40
"""Open files by which a process may grow in its life, behind its first seconds."""


@dataclass
class Watch:
    """What the processes of a round hold, as it goes on: by pid, the first figure behind its youth and the largest."""

    memory: dict[int, tuple[int, int]] = field(default_factory=dict)
    files: dict[int, tuple[int, int]] = field(default_factory=dict)
    young: Counter[int] = field(default_factory=Counter)

    def look(self, pids: list[int]) -> None:
        for pid in pids:
            self.young[pid] += 1
            if self.young[pid] < 4:
                continue
            with contextlib.suppress(psutil.Error):
                process = psutil.Process(pid)
                if "cirrus.actors.host" in process.cmdline():
                    self._note(self.memory, pid, process.memory_info().rss)
                self._note(self.files, pid, process.num_fds())

    def complaints(self) -> list[str]:
        grown = {pid: most - first for pid, (first, most) in self.memory.items() if most - first > GROWTH}
        opened = {pid: most - first for pid, (first, most) in self.files.items() if most - first > FILES}
        told = [f"shard process {pid} grew by {size / 2**20:.1f} MB" for pid, size in grown.items()]
        return told + [f"process {pid} has {count} more open files" for pid, count in opened.items()]

    def _note(self, held: dict[int, tuple[int, int]], pid: int, figure: int) -> None:
        first, most = held.get(pid, (figure, figure))
        held[pid] = first, max(most, figure)


@dataclass
class Round:
    """One run to its end."""

    seed: int
    folder: Path
    reaper: Reaper = field(default_factory=Reaper)
    watch: Watch = field(default_factory=Watch)
    drivers: int = 0
    lost: int = 0  # steps that were done again

    async def through(self) -> list[str]:
        """Take the run to its end through all deaths; what is wrong, which should be nothing."""
        chance = np.random.default_rng(self.seed)
        task = Task(
            str(self.folder), rows=3200, passes=120, workers=WORKERS, shards=SHARDS, snapshot=2.0, restarts=10**6
        )
        while True:
            self.reaper.living.clear()
            self.drivers += 1
            async with driver(task) as going:
                ended = await self._trouble(going, chance)
                for said in going.said:
                    self.lost += int(said["steps"]) if said.get("event") == "UnitsReopened" else 0
                if ended:
                    await going.gone(40)
                    return self._complaints(going)
                task = replace(task, run=task.run or going.run_id)

    async def _trouble(self, going: DriverProcess, chance: np.random.Generator) -> bool:
        """Kill at random until the run has ended (True) or its driver is dead."""
        listening = asyncio.ensure_future(going.until(lambda said: self.reaper.hear(said) and False))
        until = {kind: time.monotonic() + chance.exponential(1 / rate) for kind, rate in RATES.items()}
        until["driver"] += 10.0  # it is to get on between
        while not listening.done():
            await asyncio.wait((listening,), timeout=0.05)
            now = time.monotonic()
            for kind in [kind for kind, at in until.items() if at <= now]:
                until[kind] = now + chance.exponential(1 / RATES[kind])
                if kind == "driver" and any(said.get("event") == "RunStarted" for said in going.said):
                    going.send(signal.SIGKILL)
                    await listening
                    return False
                self._strike(kind, chance)
            self.watch.look(going.left() if int(now / LOOK) != int((now - 0.05) / LOOK) else [])
        await going.process.wait()
        return True

    def _strike(self, kind: str, chance: np.random.Generator) -> None:
        victims: list[Victim] = sorted(one for one in self.reaper.living if one[0] == kind)
        if victims:
            self.reaper.kill(victims[int(chance.integers(len(victims)))])

    def _complaints(self, going: DriverProcess) -> list[str]:
        wrong = [] if going.ended == "done" else [f"it ended with {going.said[-1] if going.said else 'not a word'}"]
        left = [path.name for path in (self.folder / "scratch").iterdir()]
        left += [path.name for path in (self.folder / "store" / ".cirrus-store").glob("write-*")]
        wrong += [f"left behind: {', '.join(sorted(left))}"] if left else []
        snapshots = Counter(path.parent.name for path in (self.folder / "store").rglob("shards/*/0*"))
        wrong += [f"shard {shard} keeps {count} snapshots" for shard, count in snapshots.items() if count > 4]
        return wrong + self.watch.complaints()


async def soak(minutes: float, seed: int) -> bool:
    """Rounds for so many minutes; whether all were right."""
    began = time.monotonic()
    deaths: Counter[str] = Counter()
    rounds = lost = 0
    while time.monotonic() - began < 60 * minutes:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            one = Round(seed + rounds, Path(folder))
            wrong = await one.through()
        rounds += 1
        died = Counter(kind for kind, _ in one.reaper.killed) + Counter(driver=one.drivers - 1)
        deaths += died
        lost += one.lost
        after = time.monotonic() - began
        print(f"{after:6.0f} s  seed {one.seed}: {dict(died)} died, {one.lost} steps done again", flush=True)
        for complaint in wrong:
            print(f"          seed {one.seed}: {complaint}", flush=True)
        if wrong:
            return False
    print(f"{rounds} rounds, all exact; {dict(deaths)} died, {lost} steps were done again; nothing was left")
    return True


def main() -> None:
    """Soak as the command line says."""
    parser = argparse.ArgumentParser(description="Kill workers, shards and drivers for minutes, and miss nothing.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(not asyncio.run(soak(given.minutes, given.seed)))


if __name__ == "__main__":
    main()
