"""From files to rows: the same rows, test rows and statistics however the input is cut into splits and chunks."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from cirrus.errors import InputError
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import Holdout
from cirrus.learn.layouts import layout
from cirrus.learn.parsing import parser
from cirrus.learn.plans import needs
from cirrus.learn.scaling import Scan, TrainStatistics
from cirrus.sources import Source, criteo, csv
from cirrus.steps import Bucket, Every, Hash, Standard, Step, every
from cirrus.store.base import ObjectStore
from cirrus.store.files import FilesStore
from cirrus.store.inputs import expand, locate, plan_splits
from cirrus.store.reading import head, lines, relocated
from cirrus.testing.data import criteo_like


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FilesStore]:
    store = FilesStore(tmp_path)
    yield store
    await store.close()


class Prepared:
    """Train and test rows, each as (label, indices, values), and the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.train: list[tuple[float, bytes, bytes]] = []
        self.test: list[tuple[float, bytes, bytes]] = []


async def prepared(
    store: ObjectStore, path: str, source: Source, steps: tuple[Step, ...], rule: float | Every, cut: int
) -> Prepared:
    objects = await expand(store, locate(path))
    found = layout(source, await head(store, objects[0]), objects[0].name)
    read, holdout = parser(found.source), Holdout(rule, 5)
    splits = plan_splits(objects, cut)
    counts, parts = [0], []
    for split in splits:
        scan = Scan(needs(found.source, steps), holdout, split.object.number)
        async for chunk in lines(store, split, found.header, 3000):
            scan.add(read.parse(chunk.data, chunk.line, split.object.name), chunk.offset)
        parts.append(scan.result().select(counts[-1], rule))
        counts.append(counts[-1] + scan.result().rows)
    out = Prepared(Encoder.fit(found.source, steps, TrainStatistics.merged(parts)))
    for split, first in zip(splits, counts, strict=False):
        row = first
        async for chunk in lines(store, split, found.header, 5000):
            parsed = read.parse(chunk.data, chunk.line, split.object.name)
            rows = out.encoder.encode(parsed.content)
            test = holdout.test_rows(parsed, row, split.object.number, chunk.offset)
            values = np.ones(len(rows.indices), np.float32) if rows.values is None else rows.values.round(4)
            for k in range(len(rows)):
                begin, end = rows.indptr[k], rows.indptr[k + 1]
                one = (float(rows.labels[k]), rows.indices[begin:end].tobytes(), values[begin:end].tobytes())
                (out.test if test[k] else out.train).append(one)
            row += parsed.rows
    return out


@pytest.mark.parametrize("rule", [0.2, every(5, at=4)])
async def test_rows_do_not_depend_on_how_the_input_is_cut(
    store: FilesStore, tmp_path: Path, rule: float | Every
) -> None:
    for number in range(2):
        criteo_like(tmp_path / f"day_{number}.tsv", 300, seed=number)
    path, steps = f"{tmp_path}/day_*.tsv", (Bucket(("I1", "I2")), Standard(), Hash(18))
    whole = await prepared(store, path, criteo("x"), steps, rule, 1 << 30)
    assert len(whole.train) + len(whole.test) == 600
    assert 80 < len(whole.test) < 160
    for cut in (5003, 20_000):
        other = await prepared(store, path, criteo("x"), steps, rule, cut)
        assert other.train == whole.train
        assert other.test == whole.test
    for number in range(2):
        file = tmp_path / f"day_{number}.tsv"
        file.write_bytes(gzip.compress(file.read_bytes()))
    packed = await prepared(store, path, criteo("x"), steps, rule, 5003)
    assert (packed.train, packed.test) == (whole.train, whole.test)


async def test_files_with_headers(store: FilesStore, tmp_path: Path) -> None:
    for number in range(3):
        body = "".join(f"{k},t{k % 3},{k % 2}\r\n" for k in range(number, 50))
        (tmp_path / f"{number}.csv").write_text("a,b,y\r\n" + body, newline="")
    steps = (Standard(), Hash(10))
    whole = await prepared(store, f"{tmp_path}/*.csv", csv("x", label="y"), steps, every(2), 1 << 30)
    cut = await prepared(store, f"{tmp_path}/*.csv", csv("x", label="y"), steps, every(2), 41)
    assert len(whole.train) + len(whole.test) == 50 + 49 + 48
    assert (cut.train, cut.test) == (whole.train, whole.test)


async def test_a_bad_line_in_the_last_split_is_found_in_the_file(store: FilesStore, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,y\n" + b"1,0\n" * 98 + b"x,1\n")
    (one,) = await expand(store, locate(f"{tmp_path}/a.csv"))
    found = layout(csv("x", label="y", columns={"a": "number"}), await head(store, one), one.name)
    split = plan_splits([one], 50)[-1]
    (chunk,) = [chunk async for chunk in lines(store, split, found.header)]
    with pytest.raises(InputError) as caught:
        parser(found.source).parse(chunk.data, chunk.line, one.name)
    error = await relocated(store, split, caught.value)
    assert (error.name, error.line, error.column) == (str(tmp_path / "a.csv"), 100, "a")
