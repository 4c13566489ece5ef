"""Who makes a write dies of it, for every write of a small run: another driver goes on as if nothing had been."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cirrus.store.opening import open_store
from cirrus.testing.seaweed import Seaweed
from tests.chaos.doom import Doom, When, Write
from tests.chaos.drive import Task
from tests.chaos.trials import ROWS, Story, rows, tried

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio"]), pytest.mark.timeout(600)]

AT_ONCE = 2
SNAPSHOTS = ("shards/000/000000000000", "shards/000/000000000001", "shards/000/000000000002")
"""There are more of them, how many depends on time."""

EXPECTED = {
    "run.json", "holder.json", "prepare/work.json", "prepare/1/encoding.json",
    "prepare/1/blocks/000000-1-train-0000.block", "prepare/1/blocks/000000-1-train-0001.block",
    "prepare/1/encode/000000-1.json", "prepare/manifest.json", "journal/00000000.json", "train/work.json", *SNAPSHOTS,
    "train/model.safetensors", "journal/00000001.json", "result.json",
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
        return Task(
            str(folder), store=store, data=self.data, rows=ROWS, block=80, workers=1, snapshot=0.3, pause=0.012
        )


def points(writes: Iterable[Write], ground: Ground) -> list[Doom]:
    """Every moment of every write that is made whatever the time."""
    found = []
    for number, write in enumerate(writes):
        if write.key.startswith("shards/") and write.key not in SNAPSHOTS:
            continue
        moments: tuple[When, ...] = ("before", "after")
        if ground.place.startswith("file:") and write.kind != "delete":
            moments = ("before", "half" if number % 2 else "named", "after")
        for when in moments:
            name = f"{number}-{when}"
            alone = write.by == "driver" or when in ("half", "named")
            found.append(Doom(str(ground.folder / name), write, when, alone))
    return found


async def enumerated(ground: Ground) -> list[Story]:
    """Try all moments, some side by side."""
    calm = Doom(str(ground.folder / "calm"))
    await tried(ground.task("calm"), calm)
    writes = calm.written()
    assert {write.key for write in writes} >= EXPECTED
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

    found = points(writes, ground)
    await asyncio.gather(*map(one, found), return_exceptions=True)
    assert not failed, "\n\n".join(failed)
    assert len(stories) == len(found) > 40
    return stories


async def test_on_files(tmp_path: Path) -> None:
    data = tmp_path / "rows.libsvm"
    data.write_text(rows())
    (tmp_path / "stores").mkdir()
    place = (tmp_path / "stores").as_uri() + "/{name}"
    stories = await enumerated(Ground(tmp_path, place, str(data)))
    units = [one for story in stories for one in story.resumed]
    assert any(0 < one < 4 for one in units), "some went on in the middle of training"


async def test_on_s3(tmp_path: Path, server: Seaweed) -> None:
    about = f"endpoint={server.endpoint}"
    store = open_store(f"s3://crash-points/input?{about}")
    await store.put("rows.libsvm", rows().encode())
    await store.close()
    place = f"s3://crash-points/{secrets.token_hex(4)}-{{name}}?{about}"
    await enumerated(Ground(tmp_path, place, "s3://crash-points/input/rows.libsvm"))
