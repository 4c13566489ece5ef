"""What preparation costs: lines of text to blocks of hashed features, beside scikit-learn's ``FeatureHasher``.

    python -m benchmarks.preparation

Both do their work in this one process and take turns; what counts is processor time. cirrus reads, parses, hashes and
gathers blocks as a worker of a preparation stage does. Then stages of one worker run on inputs of two sizes, whose
memory is asked for.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median

from sklearn.feature_extraction import FeatureHasher

from benchmarks.kernels import BITS
from benchmarks.rows import STEPS
from benchmarks.setting import setting, write
from cirrus.actors.prepare_job import Shelf
from cirrus.cloud.places import local
from cirrus.events import ResourcesReported
from cirrus.learn.encoding import Encoder
from cirrus.learn.parsing import parser
from cirrus.pipeline import Pipeline, Prepare
from cirrus.runs import start
from cirrus.sources import CriteoSource, criteo
from cirrus.store.inputs import expand, locate, plan_splits
from cirrus.store.memory import MemoryStore
from cirrus.store.opening import open_store
from cirrus.store.reading import lines
from cirrus.testing.data import criteo_like

ROWS = 100_000
LARGE = 400_000
ROUNDS = 5
FIELDS = tuple(f"{kind}{number}=" for kind, count in (("I", 13), ("C", 26)) for number in range(1, count + 1))


async def cirrus(path: Path) -> float:
    """Prepare the file; rows a second of processor time."""
    source, where = CriteoSource(path="rows"), locate(str(path))
    store, begin = open_store(where.url), time.process_time()
    parse, encoder = parser(source).parse, Encoder(source, STEPS, {}, 1 << BITS)
    shelf = Shelf(MemoryStore(), "blocks", Prepare().block)
    for split in plan_splits(await expand(store, where)):
        async for chunk in lines(store, split):
            await shelf.add(encoder.encode(parse(chunk.data, chunk.line, "rows").content))
    blocks = await shelf.finish()
    seconds = time.process_time() - begin
    await store.close()
    return sum(rows for _, rows, _, _, _ in blocks) / seconds


def scikit_learn(path: Path) -> float:
    """The same with strings of ``field=value``; rows a second of processor time."""
    begin, rows = time.process_time(), 0
    hasher = FeatureHasher(1 << BITS, input_type="string", alternate_sign=False)
    with path.open() as file:
        while some := file.readlines(1 << 21):
            cut = (line.rstrip("\n").split("\t")[1:] for line in some)
            matrix = hasher.transform([field + value for field, value in zip(FIELDS, row, strict=True)] for row in cut)
            rows += matrix.shape[0]
    return rows / (time.process_time() - begin)


async def worker_mb(path: Path, store: Path) -> int:
    """The most memory that the worker of a preparation had."""
    pipeline = Pipeline(name="preparation", data=criteo(path), stages=(Prepare(steps=STEPS, test=0.0, workers=1),))
    most = 0.0
    async with start(pipeline, on=local(store)) as run:
        async for event in run.events():
            if isinstance(event, ResourcesReported):
                most = max(most, event.worker_mb)
    return round(most)


async def main() -> None:
    before = setting()
    rates: dict[str, list[float]] = {"cirrus": [], "scikit-learn": []}
    memory = []
    with tempfile.TemporaryDirectory(prefix="cirrus-preparation-") as name:
        folder = Path(name)
        path = folder / "rows.tsv"
        criteo_like(path, ROWS)
        for _ in range(ROUNDS):
            rates["cirrus"].append(await cirrus(path))
            rates["scikit-learn"].append(scikit_learn(path))
            print({what: round(values[-1]) for what, values in rates.items()}, flush=True)
        for rows in (LARGE, 4 * LARGE):
            criteo_like(path, rows)
            memory.append({"rows": rows, "worker_mb": await worker_mb(path, folder / str(rows))})
            print(memory[-1], flush=True)
    middle = {what: median(values) for what, values in rates.items()}
    runs = {what: [round(one) for one in values] for what, values in rates.items()}
    found = {
        **{what: {"rows_per_second": round(middle[what]), "runs": runs[what]} for what in rates},
        "ratio": round(median(ours / theirs for ours, theirs in zip(*rates.values(), strict=True)), 1),
        "memory": memory,
    }
    print(found)
    write("preparation", before, found)


if __name__ == "__main__":
    asyncio.run(main())
