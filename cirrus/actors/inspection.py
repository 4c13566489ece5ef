"""A look at the input before anything is started: what is there, how it is cut up, and whether its beginning is sound.

Whatever can be seen to be wrong here is an error within a moment, and has cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

from cirrus.actors.kernel import Kernel
from cirrus.actors.work import Input, Piece, PrepareWork, Use
from cirrus.errors import InputError, PipelineError
from cirrus.learn.encoding import Encoder
from cirrus.learn.holdout import NONE, Holdout
from cirrus.learn.kernels import kernel_class
from cirrus.learn.layouts import Layout, layout
from cirrus.learn.parsing import parser
from cirrus.learn.plans import needs, plans
from cirrus.learn.scaling import Needs, Scan, TrainStatistics
from cirrus.models import ModelSpec
from cirrus.pipeline import Prepare
from cirrus.sources import CsvSource, LibsvmSource, Source
from cirrus.steps import Every
from cirrus.store.base import ObjectStore
from cirrus.store.inputs import InputObject, Split, expand, locate, plan_splits
from cirrus.store.opening import open_store
from cirrus.store.reading import head, lines
from cirrus.wire.plain import Mismatch
from cirrus.wire.records import tag_of_model

LEAST_SPLIT = 1 << 20
MOST_SPLIT = 32 << 20
LOOKED_AT = 256 << 10
READ_WHOLE = 4 << 20  # compressed objects up to this size are read to their end: a truncated one is found at once
MOST_LOOKED_AT = 16


async def inspect(kernel: Kernel, prepare: Prepare, data: Source, output: str) -> PrepareWork:
    """The work of a preparation stage; ``InputError`` and ``PipelineError`` where it cannot be done."""
    divided = not isinstance(prepare.test, Source)
    first = await _look(kernel, prepare, data, "divided" if divided else "train", None)
    found = [first]
    if isinstance(prepare.test, Source):
        found.append(await _look(kernel, prepare, prepare.test, "test", first[0].source))
    size = sum(one.size for _, objects in found for one in objects)
    split_bytes = max(LEAST_SPLIT, min(MOST_SPLIT, size // (4 * max(1, prepare.workers))))
    pieces = tuple(
        Piece(number, split) for number, (_, objects) in enumerate(found) for split in plan_splits(objects, split_bytes)
    )
    inputs = tuple(one for one, _ in found)
    scans = _scans(prepare, inputs[0], pieces)
    return PrepareWork(prepare, inputs, pieces, scans, output, f"{output}encoding.json")


def check_models(models: Sequence[tuple[str, ModelSpec]]) -> None:
    """``PipelineError`` where workers, which are other processes, could not import a stage's model or its kernel."""
    for stage, model in models:
        kind = type(model)
        try:
            if kind.__module__ == "__main__":
                raise PipelineError(f"{stage}.model", kind.__name__, "a model of a module, not of the main script")
            tag_of_model(kind)
        except Mismatch as error:
            raise PipelineError(f"{stage}.model", kind.__name__, "a model that workers can import") from error
        kernel_class(model)


def without_scan(work: PrepareWork) -> Encoder:
    """The encoder where nothing had to be found out from the rows."""
    nothing: TrainStatistics = Scan(Needs(), Holdout(NONE), 0).result().select(0, NONE)
    return Encoder.fit(work.inputs[0].source, work.prepare.steps, nothing)


def _scans(prepare: Prepare, first: Input, pieces: Sequence[Piece]) -> int:
    """How many pieces must be scanned before the first can be encoded: those with training rows, or none."""
    ours = sum(piece.input == 0 for piece in pieces)
    wanted = needs(first.source, prepare.steps)
    wanted.classes(prepare.test if isinstance(prepare.test, Every) else NONE)
    numbered = isinstance(prepare.test, Every) and ours > 1
    return ours if wanted.columns or wanted.highest or numbered else 0


async def _look(
    kernel: Kernel, prepare: Prepare, source: Source, use: Use, like: Source | None
) -> tuple[Input, tuple[InputObject, ...]]:
    location = await kernel.blocking(locate, source.path)
    store = open_store(location.url)
    try:
        objects = await expand(store, location)
        if isinstance(source, CsvSource) and isinstance(like, CsvSource):
            source = replace(source, columns=like.columns)
        found = layout(source, await head(store, objects[0], LOOKED_AT), objects[0].name)
        if not isinstance(found.source, LibsvmSource):
            plans(found.source, prepare.steps)
        for one in objects[:MOST_LOOKED_AT]:
            await _try(kernel, store, one, found)
    finally:
        await store.close()
    return Input(location.url, found.source, found.header.decode("latin-1"), use), objects


async def _try(kernel: Kernel, store: ObjectStore, one: InputObject, found: Layout) -> None:
    """Parse the beginning of an object, and read a small compressed one to its end."""
    whole = one.compressed and one.size <= READ_WHOLE
    first = True
    async with aclosing(lines(store, Split(one, 0, one.size), found.header, LOOKED_AT)) as chunks:
        async for chunk in chunks:
            if first:
                await kernel.blocking(parser(found.source).parse, chunk.data, chunk.line, one.name)
            first = False
            if not whole:
                break
    if first:
        raise InputError(one.name, "there is no row in this file")
