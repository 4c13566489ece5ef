"""A shard's process bears whatever comes: it lives, applies nothing that is not right, and does not grow.

``CIRRUS_FUZZ`` says how many messages are sent to each kind of shard: 10,000 unless it is set, a million in
``scripts/nightly``. ``CIRRUS_FUZZ_SEED`` makes them others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.actors.siege import Siege
from tests.actors.test_shard_process import config

pytestmark = pytest.mark.usefixtures("loops")

COUNT = int(os.environ.get("CIRRUS_FUZZ") or 10_000)
SEED = int(os.environ.get("CIRRUS_FUZZ_SEED") or 20)
ROUNDS = 20
GROWTH = 16 * 2**20


@contextmanager
def host(folder: Path) -> Iterator[tuple[int, int]]:
    """Port and process of a shard that has the control actor beside it."""
    with (folder / "said").open("w") as said:
        command = [sys.executable, "-m", "cirrus.actors.host"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said) as made:
            assert made.stdin is not None
            assert made.stdout is not None
            try:
                made.stdin.write(config(folder, 0, 1))
                made.stdin.flush()
                yield int(json.loads(made.stdout.readline())["port"]), made.pid
                assert made.poll() is None
            finally:
                made.kill()


@pytest.mark.timeout(60 + COUNT // 50)
def test_a_shard_bears_hostile_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with host(tmp_path) as (port, pid):
        monkeypatch.setenv("CIRRUS_NATIVE", "0")  # for the twin
        with closing(Siege(port, pid, SEED)) as siege:
            warm = largest = _after_a_round(siege)
            while siege.sent < COUNT:
                largest = max(largest, _after_a_round(siege))
    with capsys.disabled():
        print(f" {siege.sent} sent, {siege.right} right, {(largest - warm) / 2**20:.1f} MB more ", end="")
    assert 0 < siege.right < siege.sent / 4
    assert largest - warm < GROWTH


def _after_a_round(siege: Siege) -> int:
    """The bytes that the shard's process occupies after some more messages."""
    before = siege.sent
    try:
        siege.fire(COUNT // ROUNDS)
        siege.look()
    except BaseException as error:
        error.add_note(f"seed {SEED}, between {before} and {siege.sent} messages")
        raise
    return siege.memory
