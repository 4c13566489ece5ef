"""A run that dies of a write, is gone on with by another driver, and must be as if nothing had been."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cirrus.store.base import ObjectStore
from cirrus.store.checkpoints import decode_snapshot
from cirrus.store.datasets import load
from cirrus.store.holding import seen
from cirrus.store.opening import open_store
from tests.chaos.census import census
from tests.chaos.doom import Doom
from tests.chaos.drive import Task
from tests.chaos.drivers import driver

ROWS = 160


def rows() -> str:
    """The input: every row is another."""
    return "".join(f"{number % 2} 1:{number + 1}\n" for number in range(ROWS))


@dataclass(slots=True)
class Story:
    """What was seen of a run: what each driver said, how long workers lived, and what the first driver has left.

    ``held``: how many drivers have had the run. ``before``: the journal as the first has left it.
    """

    held: int = 1
    lived: float = 0.0
    said: list[list[dict[str, Any]]] = field(default_factory=list)
    before: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def resumed(self) -> list[int]:
        """The units with which a training stage went on."""
        return [one["units"] for said in self.said for one in said if one.get("event") == "StageResumed"]


async def tried(task: Task, doom: Doom) -> Story:
    """Have the run die of that, go on in a new process where it has to, and check all that was promised."""
    story = Story()
    store = open_store(task.store)
    try:
        async with driver(replace(task, doom=doom.to_json())) as first:
            with census(first.mark, "worker") as workers:
                code = await first.end()
                story.said.append(first.said)
                assert doom.hit == (doom.write is not None), f"the write was not made: {first.said[-1]}"
                driver_died = doom.hit and (doom.write is None or doom.write.by == "driver" or not doom.alone)
                assert code == (-signal.SIGKILL if driver_died else 0), first.said
                runs = {info.key.split("/")[1] async for info in store.list("runs/")}
                if driver_died and runs:
                    await resumed(task, doom, story, (store, min(runs)))
                await first.gone(20)
            story.lived += workers.seconds
            if runs:
                await check(store, min(runs), story)
            else:
                assert doom.write is not None
                assert doom.write.key == "run.json", "nothing of the run was there yet"
    finally:
        await store.close()
    return story


async def resumed(task: Task, doom: Doom, story: Story, left: tuple[ObjectStore, str]) -> None:
    """Go on in a new process, at once: what the first one has left may still be at work."""
    store, run_id = left
    story.before = await journal(store, run_id)
    story.held += await seen(store, run_id) is not None
    calm = replace(doom, write=None)
    async with driver(replace(task, run=run_id, doom=calm.to_json())) as second:
        with census(second.mark, "worker") as workers:
            assert await second.end() == 0, second.said
            story.said.append(second.said)
            await second.gone(20)
        story.lived += workers.seconds


async def check(store: ObjectStore, run_id: str, story: Story) -> None:
    """What must hold at the end, whatever has happened; the driver itself has looked at the counts (I3 and I4)."""
    decided(await journal(store, run_id), story)
    last = json.loads(await store.get(f"runs/{run_id}/holder.json"))
    assert (last["epoch"], last["state"]) == (story.held, "free")
    assert json.loads(await store.get(f"runs/{run_id}/result.json"))["outcome"] == "done"
    await prepared(store, run_id)
    await fenced(store, run_id)
    for said in story.said:
        shown(said)
    assert story.said[-1][-1]["ended"] == "done", story.said[-1][-1]
    reported = story.said[-1][-1]["worker_seconds"]
    assert reported >= story.lived > 0, f"I7: {reported} of {story.lived} seconds are reported"


def decided(entries: list[Mapping[str, Any]], story: Story) -> None:
    """I1, and I5 of the journal: what was decided stays, each thing once, none by an earlier driver behind a later."""
    assert entries[: len(story.before)] == story.before, "I1: decisions stay"
    kinds = [one["kind"] for one in entries if one["kind"] != "taken"]
    assert kinds == ["prepared", "finished"], "I1: each decision is made once"
    epochs = [one["epoch"] for one in entries]
    assert epochs == sorted(epochs), "I5: no earlier driver decides behind a later one"


async def prepared(store: ObjectStore, run_id: str) -> None:
    """I2: the data set is the input as a multiset."""
    dataset = await load(store, f"runs/{run_id}/prepare/manifest.json")
    found: Counter[tuple[float, float]] = Counter()
    for block in dataset.train:
        read = block.open(await store.get(block.key), dataset.features)
        assert np.array_equal(np.diff(read.indptr), np.ones(len(read)))
        assert read.values is not None
        found.update(zip(read.labels.tolist(), read.values.tolist(), strict=True))
    assert found == Counter((float(number % 2), float(number + 1)) for number in range(ROWS)), "I2"


async def fenced(store: ObjectStore, run_id: str) -> None:
    """I5: behind a snapshot of a later driver's shard there is none of an earlier one's."""
    epochs: dict[str, list[int]] = {}
    async for info in store.list(f"runs/{run_id}/shards/"):
        header = decode_snapshot(await store.get(info.key), info.key).header
        epochs.setdefault(info.key.rpartition("/")[0], []).append(int(str(header["epoch"])))
    assert epochs
    assert all(found == sorted(found) for found in epochs.values()), "I5"


def shown(said: list[dict[str, Any]]) -> None:
    """I6: a driver shows each thing once, and progress goes forward."""
    for kind in ("RunStarted", "StageStarted", "StageResumed", "StageFinished", "RunFinished", "RowsPrepared"):
        seen = Counter(str(one.get("stage")) for one in said if one.get("event") == kind)
        assert all(count == 1 for count in seen.values()), f"I6: {kind} {seen}"
    for stage in ("prepare", "train"):
        done = [one["done"] for one in said if one.get("event") == "StageProgress" and one["stage"] == stage]
        assert done == sorted(done), f"I6: {done}"


async def journal(store: ObjectStore, run_id: str) -> list[Mapping[str, Any]]:
    """All decisions, with who has made them."""
    keys = [info.key async for info in store.list(f"runs/{run_id}/journal/")]
    return [json.loads(await store.get(key)) for key in keys]
