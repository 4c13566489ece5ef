"""Whole runs under faults, simulated: whatever strikes, every promise is kept. A failure names the seeds that show it.

``CIRRUS_SEEDS`` says how many seeds are tried: 100 unless it is set, 2,000 under CI. To see what happened in one:
``python -m cirrus.testing.simulation SEED``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from cirrus.testing.sim.faults import NO_FAULTS, FaultPlan
from cirrus.testing.simulation import main, simulate

SEEDS = int(os.environ.get("CIRRUS_SEEDS") or (2000 if os.environ.get("CI") else 100))
CHUNK = 25
CHUNKS = tuple(range(0, SEEDS, CHUNK))
PROCESSES = 2
ROOT = Path(__file__).parents[2]


def tried(first: int) -> str:
    """What the seeds of a chunk break, as a process of its own says."""
    last = min(first + CHUNK, SEEDS)
    command = [sys.executable, "-m", "cirrus.testing.simulation", str(first), str(last)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout


@pytest.fixture(scope="module")
def found() -> Iterator[dict[int, Future[str]]]:
    """All chunks, tried side by side."""
    with ThreadPoolExecutor(PROCESSES) as pool:
        futures = {first: pool.submit(tried, first) for first in CHUNKS}
        yield futures
        for future in futures.values():
            future.cancel()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("first", CHUNKS)
def test_every_promise_is_kept_whatever_strikes(first: int, found: dict[int, Future[str]]) -> None:
    tried_here = min(CHUNK, SEEDS - first)
    assert found[first].result() == f"0 of {tried_here} seeds broke a promise\n"


@pytest.mark.parametrize("seed", [0, 2, 3])  # in which the user does not kill the run
def test_without_faults_a_run_is_done_and_nothing_is_done_twice(seed: int) -> None:
    story = simulate(seed, NO_FAULTS)
    assert (story.outcome, story.broken) == ("done", "")
    assert not [line for line in story.lines if "reopens" in line[2] or "crashed" in line[2]]


def test_a_seed_tells_the_same_story_each_time() -> None:
    assert str(simulate(5)) == str(simulate(5))


def test_faults_can_be_chosen() -> None:
    story = simulate(3, FaultPlan(until=40.0, kill_shard=0.3))
    assert not story.broken
    assert [line for line in story.lines if line[2] == "is killed"]


def test_the_command_tells_the_story_of_a_seed_or_tries_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["4"]) == 0
    assert capsys.readouterr().out.startswith("seed 4\nFaultPlan(")
    assert main(["4", "6"]) == 0
    assert capsys.readouterr().out == "0 of 2 seeds broke a promise\n"
