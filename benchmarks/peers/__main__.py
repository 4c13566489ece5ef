"""cirrus side by side with what people would use instead, all on the same rows, model and machine, in turn.

    python -m benchmarks.peers [--rounds N] [--only NAME] [--rows N]

Sparse logistic regression under AdaGrad, Criteo-shaped rows of 39 values, 2^18 weights, minibatches of 100, four
workers. Each peer runs in an environment of its own, which is made from PyPI the first time. ``--only`` leaves out the
peers whose names do not contain NAME, and does not write figures down.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.environments import python_with
from benchmarks.peers.figures import CIRRUS, figures
from benchmarks.peers.figures import peers as table
from benchmarks.peers.task import Outcome
from benchmarks.rows import encoded, save
from benchmarks.setting import setting, write
from cirrus.testing.data import criteo_like

ROOT = Path(__file__).parents[2]
NEAR = 0.02
"""Of the loss that the truth has: the test loss that is reached."""

SHARE = 5
"""One row in so many is a test row."""

BEGINNING = 120
"""Seconds that a peer may take beyond those that it learns for."""

COMMON = ("numpy==2.4.6", "scipy==1.17.1", "psutil==7.2.2")
PACKAGES = {
    "lithops": ("lithops==3.8.0", "redis==8.1.0", "hiredis==3.5.0"),
    "ray": ("ray==2.60.0",),
    "dask": ("distributed==2026.8.0",),
    "tensorflow": ("tensorflow-cpu==2.21.0",),
}


@dataclass(frozen=True)
class Peer:
    """What is measured: the module ``<program>_peer``, its variant, for how many seconds."""

    name: str
    program: str
    variant: str
    seconds: float

    def python(self) -> Path:
        """The interpreter that has what it needs."""
        packages = PACKAGES.get(self.program)
        return python_with(self.program, *packages, *COMMON) if packages else Path(sys.executable)


PEERS = (
    Peer("Lithops, synchronous", "lithops", "synchronous", 10),
    Peer("Lithops, + many updates a call, asynchronous", "lithops", "asynchronous", 7),
    Peer("Lithops, + minibatches prefetched and kept", "lithops", "prefetched", 7),
    Peer("Lithops, + Redis", "lithops", "redis", 7),
    Peer("Lithops, + Redis adds in place", "lithops", "in-place", 7),
    Peer("Ray, actor", "ray", "", 4),
    Peer("Dask, actor", "dask", "", 4),
    Peer("TensorFlow, 1 thread", "tensorflow", "1", 3),
    Peer("TensorFlow, 2 threads", "tensorflow", "2", 3),
    Peer("cirrus, one step under way", "cirrus", "1", 3),
    Peer(CIRRUS, "cirrus", "", 3),
)


def measured(peer: Peer, folder: Path, goal: float) -> Outcome | None:
    """Let a peer learn; None, and what it said, where it fails."""
    given = [str(one) for one in (folder, peer.seconds, goal, peer.variant)]
    with tempfile.TemporaryDirectory(prefix="peer-") as own:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": own}
        with subprocess.Popen(
            [peer.python(), "-m", f"benchmarks.peers.{peer.program}_peer", *given], cwd=ROOT, env=environment,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        ) as process:  # fmt: skip
            try:
                told, complaints = process.communicate(timeout=peer.seconds + BEGINNING)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                told, complaints = process.communicate()
    if process.returncode:
        print(f"{peer.name} ended with {process.returncode}:\n{complaints[-2000:]}", flush=True)
        return None
    return Outcome(**json.loads(told.splitlines()[-1]))


def prepared(folder: Path, rows: int) -> float:
    """Write the rows for all; the loss to be reached."""
    truth = criteo_like(folder / "rows.tsv", rows * SHARE // (SHARE - 1))
    every = encoded(folder / "rows.tsv")
    numbers = np.arange(len(every))
    save(every.take(numbers[numbers % SHARE != SHARE - 1]), folder / "train.bin")
    save(every.take(numbers[numbers % SHARE == SHARE - 1]), folder / "test.bin")
    return truth.loss_of_truth(lambda one: one % SHARE == SHARE - 1) + NEAR


def main() -> None:
    before = setting()
    parser = argparse.ArgumentParser(description="cirrus side by side with its peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    peers = [peer for peer in PEERS if given.only in peer.name]
    for peer in peers:
        peer.python()
    rounds: list[dict[str, Outcome]] = []
    with tempfile.TemporaryDirectory(prefix="peers-") as name:
        goal = prepared(Path(name), given.rows)
        for number in range(given.rounds):
            print(f"round {number + 1} of {given.rounds}", flush=True)
            rounds.append({})
            for peer in peers:
                if outcome := measured(peer, Path(name), goal):
                    rounds[-1][peer.name] = outcome
                    print(f"{peer.name:46}", outcome, flush=True)
            lines = [figures(peer.name, peer.seconds, rounds) for peer in peers]
            found = {"rows": given.rows, "goal": round(goal, 4), "packages": PACKAGES, "peers": lines}
            print(table(found), flush=True)
            if not given.only:
                write("peers", before, found)


if __name__ == "__main__":
    main()
