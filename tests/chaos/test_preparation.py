"""Workers die while they prepare, and every row of the input comes out exactly once."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cirrus.events import StageProgress, WorkerReplaced, WorkerStarted
from cirrus.learn.encoding import Encoder
from cirrus.learn.parsing import parser
from cirrus.learn.rows import Rows
from cirrus.pipeline import Pipeline, Prepare
from cirrus.runs import start
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.store.base import ObjectStore
from cirrus.store.datasets import BlockInfo, load
from cirrus.store.opening import open_store
from cirrus.testing.data import criteo_like
from tests.chaos.ground import kill, store_in

ROWS = 60_000
FOLD = 5


def fingerprints(rows: Rows) -> Iterator[bytes]:
    """What tells one row from another: its features, sorted, and its label."""
    bounds = rows.indptr.tolist()
    for begin, end, label in zip(bounds, bounds[1:], rows.labels.tolist(), strict=False):
        yield np.sort(rows.indices[begin:end]).tobytes() + bytes([int(label)])


def of_file(path: Path, encoder: Encoder) -> tuple[Counter[bytes], Counter[bytes]]:
    """The training rows and the test rows of the input, straight from the file."""
    parsed = parser(criteo(path)).parse(path.read_bytes(), 1, path.name)
    rows = encoder.encode(parsed.content)
    assert len(rows) == ROWS
    tested = np.arange(ROWS) % FOLD == FOLD - 1
    return tuple(Counter(fingerprints(rows.take(which.nonzero()[0]))) for which in (~tested, tested))  # type: ignore[return-value]


async def of_blocks(store: ObjectStore, blocks: tuple[BlockInfo, ...], features: int) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for block in blocks:
        found.update(fingerprints(block.open(await store.get(block.key), features)))
    return found


async def leases(store: ObjectStore, prefix: str) -> list[int]:
    """The numbers of the leases under which pieces were finished; each grant takes the next."""
    found = [re.search(r"/(?:scan|encode)/\d+-(\d+)\.json$", one.key) async for one in store.list(prefix)]
    return sorted(int(one[1]) for one in found if one)


@pytest.mark.asyncio(loop_factories=["asyncio"])
async def test_sixty_thousand_rows_in_and_out_none_twice_though_two_workers_die(tmp_path: Path) -> None:
    path = tmp_path / "clicks.tsv"
    criteo_like(path, ROWS, seed=7)
    prepare = Prepare(steps=(Bucket(), Hash(bits=18)), test=every(FOLD, at=FOLD - 1), workers=3, block=1000)
    pids: list[int] = []
    killed: list[int] = []
    replaced: list[str] = []
    units = 0
    async with start(Pipeline(name="prepared", data=criteo(path), stages=(prepare,)), on=store_in(tmp_path)) as run:
        async for event in run.events():
            match event:
                case WorkerStarted(pid=pid):
                    pids.append(pid)
                case WorkerReplaced(reason=reason):
                    replaced.append(reason)
                case StageProgress(done=done, total=units):
                    # One while the input is scanned and one while blocks are written: whoever lives is at work then.
                    wanted = (units // 4 <= done) + (units * 5 // 8 <= done)
                    living = [pid for pid in pids if pid not in killed]
                    if len(killed) < wanted and living and kill(living[-1]):
                        killed.append(living[-1])
                case _:
                    pass
        result = await run.result()
    store = open_store(store_in(tmp_path).url)
    try:
        dataset = await load(store, f"runs/{run.run_id}/prepare/manifest.json")
        encoder = Encoder.from_json(dataset.encoder)
        train, test = of_file(path, encoder)
        assert await of_blocks(store, dataset.train, dataset.features) == train
        assert await of_blocks(store, dataset.test, dataset.features) == test
        numbers = await leases(store, f"runs/{run.run_id}/prepare/")
    finally:
        await store.close()
    assert train.total() + test.total() == dataset.rows_in == ROWS
    assert len(killed) == 2
    # The second may die when nothing is left for a successor to do.
    assert [one.splitlines()[0] for one in replaced] in (["killed: SIGKILL"], ["killed: SIGKILL"] * 2)
    assert units >= 20
    assert numbers[-1] > units, "no unit was leased again: nobody was killed at work"
    assert result.metrics["prepare"]["rows_in"] == ROWS
