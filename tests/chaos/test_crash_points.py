"""Who makes a write dies of it, for every write of a small run: another driver goes on as if nothing had been.

Each moment of each write, with the writer alone dying and with everything dying, is tried where ``CIRRUS_CRASH_POINTS``
is ``all``, which is for the night. Otherwise each write is tried at least at one moment, which takes turns, such that
every writer and every kind of write has met every moment, and every writer has died alone and with all others.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

import pytest

from cirrus.store.opening import open_store
from cirrus.testing.seaweed import Seaweed
from tests.chaos.doom import SNAPSHOTS, Doom, When, Write
from tests.chaos.drive import Task
from tests.chaos.trials import ROWS, Story, rows, tried

ALL = os.environ.get("CIRRUS_CRASH_POINTS") == "all"

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.timeout(14_400 if ALL else 1800)]

AT_ONCE = 2
EXPECTED = {
    "run.json", "holder.json", "prepare/work.json", "prepare/1/encoding.json",
    "prepare/1/blocks/000000-train-0000.block", "prepare/1/blocks/000000-train-0001.block",
    "prepare/1/encode/000000.json", "prepare/manifest.json", "journal/00000000.json", "train/work.json", *SNAPSHOTS,
    "train/model.safetensors", "journal/00000001.json", "events/00000001-00000000.jsonl", "result.json",
}  # fmt: skip


@dataclass(frozen=True)
class Ground:
    """Where the runs of a test are: each has a folder of its own for notes, and a store of its own."""

    folder: Path
    place: str
    data: str

    def task(self, name: str) -> Task:
        folder = self.folder / name
        folder.mkdir()
        store = self.place.format(name=name)
        return Task(str(folder), store=store, data=self.data, rows=ROWS, block=80, workers=1, snapshot=0.3, pause=0.012)

    def moments(self, write: Write) -> tuple[When, ...]:
        """The moments of a write at which something else may be left of it."""
        if self.place.startswith("file:") and write.kind != "delete":
            return ("before", "half", "named", "after")
        return ("before", "after")


def points(writes: Iterable[Write], ground: Ground) -> Iterator[Doom]:
    """Every way to die of every write that is made whatever the time; the ways of each begin with another one."""
    for number, write in enumerate(writes):
        if write.by == "shard" and write.key not in SNAPSHOTS[: 1 if write.kind == "delete" else None]:
            continue
        ways = list(product(ground.moments(write), (True, False)))
        first = number * 3 % len(ways)
        for when, alone in ways[first:] + ways[:first]:
            name = f"{number}-{when}-{'alone' if alone else 'all'}"
            yield Doom(str(ground.folder / name), write, when, alone)


def traits(doom: Doom) -> set[tuple[object, ...]]:
    """What is to be met at least once."""
    write = doom.write
    assert write is not None
    return {(write,), (write.by, doom.when), (write.kind, doom.when), (write.by, doom.alone)}


def chosen(dooms: Iterable[Doom]) -> Iterator[Doom]:
    """One of each write, which has the most that is new; then what is still missing."""
    every = list(dooms)
    met: set[tuple[object, ...]] = set()
    for _, ways in groupby(every, key=lambda doom: doom.write):
        best = max(ways, key=lambda doom: len(traits(doom) - met))
        met |= traits(best)
        yield best
    for doom in every:
        if traits(doom) - met:
            met |= traits(doom)
            yield doom


async def enumerated(ground: Ground) -> list[Story]:
    """Try all moments, some side by side."""
    calm = Doom(str(ground.folder / "calm"))
    await tried(ground.task("calm"), calm)
    writes = calm.written()
    assert {write.key for write in writes} >= EXPECTED
    found = list(points(writes, ground) if ALL else chosen(points(writes, ground)))
    room = asyncio.Semaphore(AT_ONCE)
    stories: list[Story] = []
    failed: list[str] = []

    async def one(doom: Doom) -> None:
        async with room:
            try:
                stories.append(await tried(ground.task(Path(doom.folder).name), doom))
            except (Exception, asyncio.CancelledError) as error:
                failed.append(f"{doom}: {error!r}")
                raise

    await asyncio.gather(*map(one, found), return_exceptions=True)
    print(f"{len(found)} ways to die of {len(writes)} writes")
    assert not failed, "\n\n".join(failed)
    assert len(stories) == len(found) > len(EXPECTED)
    return stories


async def test_on_files(tmp_path: Path) -> None:
    data = tmp_path / "rows.libsvm"
    data.write_text(rows())
    (tmp_path / "stores").mkdir()
    place = (tmp_path / "stores").as_uri() + "/{name}"
    stories = await enumerated(Ground(tmp_path, place, str(data)))
    assert any(any(story.resumed) for story in stories), "some went on with what had been learnt"


async def test_on_s3(tmp_path: Path, server: Seaweed) -> None:
    about = f"endpoint={server.endpoint}"
    store = open_store(f"s3://crash-points/input?{about}")
    await store.put("rows.libsvm", rows().encode())
    await store.close()
    place = f"s3://crash-points/{secrets.token_hex(4)}-{{name}}?{about}"
    await enumerated(Ground(tmp_path, place, "s3://crash-points/input/rows.libsvm"))
