"""Whatever a process dies of while it writes a file, each object is the old or the new one, whole."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cirrus.store.files import FilesStore

TREE = Path(__file__).parents[2]
OPERATIONS = {"put": "replace", "put_if_absent": "link", "replace_if": "replace"}


def child(*args: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.store.children", *map(str, args)]
    return subprocess.Popen(command, cwd=TREE, stdout=subprocess.PIPE, text=True)


@dataclass(frozen=True)
class Outcome:
    """``at``: the call that was hit, empty where none was. ``ended``: 0, 3 for an error, or below 0 for a kill."""

    at: str
    ended: int
    state: str
    listed: list[str]
    own: list[str]


def outcomes(*args: object) -> list[Outcome]:
    with child("crash", *args) as running:
        assert running.stdout is not None
        found = [Outcome(**json.loads(line)) for line in running.stdout]
    assert running.returncode == 0
    return found


@pytest.mark.parametrize("how", ["kill", "fail"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_write_cut_short_anywhere_leaves_the_old_or_the_new_object(operation: str, how: str, tmp_path: Path) -> None:
    *cut, whole = outcomes(tmp_path / "store", operation, how)
    before = "none" if operation == "put_if_absent" else "old"
    assert (whole.ended, whole.state) == (0, "new")
    assert {one.state for one in cut} == {before, "new"}
    for one in cut:
        assert one.ended in ({-9} if how == "kill" else {0, 3})
        assert one.listed == (["folder/a"] if one.state != "none" else [])
        assert one.ended != 0 or one.state == "new"
    published = [one.at for one in cut].index(OPERATIONS[operation])
    assert [one.state for one in cut[: published + 1]] == [before] * (published + 1)
    assert [one.state for one in cut[published + 1 :]] == ["new"] * (len(cut) - published - 1)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_dead_leave_is_swept_up_by_the_next_write(operation: str, tmp_path: Path) -> None:
    assert {tuple(one.own) for one in outcomes(tmp_path / "store", operation, "kill")} == {("lock",)}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_answer(operation: str, tmp_path: Path) -> None:
    calls = [one.at for one in outcomes(tmp_path / "store", operation, "kill")]
    published = calls.index(OPERATIONS[operation])
    assert "write" in calls[:published]
    assert calls.index("fsync") > max(place for place, call in enumerate(calls) if call in {"write", "utime"})
    assert calls.index("fsync") < published
    assert "fsync folder" in calls[published:]
    assert calls[:published].count("mkdir") <= calls[:published].count("fsync folder")


@pytest.mark.parametrize("acknowledged", [1, 2, 5, 9, 14])
async def test_what_was_acknowledged_before_the_kill_is_there(acknowledged: int, tmp_path: Path) -> None:
    with child("stream", tmp_path / "store") as running:
        assert running.stdout is not None
        last = [int(running.stdout.readline()) for _ in range(acknowledged)][-1]
        running.kill()
        last = max([last, *map(int, running.stdout.read().split())])
    store = FilesStore(tmp_path / "store")
    data = await store.get("a")
    await store.close()
    assert int(data[:9]) in {last, last + 1}
    assert data == data[:9] * 20_000


async def test_processes_count_right_by_compare_and_set(tmp_path: Path) -> None:
    store = FilesStore(tmp_path / "store")
    await store.put("count", b"0")
    running = [child("count", tmp_path / "store", 25) for _ in range(4)]
    for one in running:
        with one:
            assert one.wait() == 0
    assert await store.get("count") == b"100"
    await store.close()
