"""What a run would cost and take, before it runs: two trials on samples of its input, on this machine, in a moment."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from cirrus.clock import Clock
from cirrus.cloud.base import Invoker
from cirrus.cloud.places import Local
from cirrus.core.forecast import Forecast, Line, Trial, samples_until
from cirrus.core.judging import expected
from cirrus.core.terms import Terms
from cirrus.pipeline import Budget, Pipeline, Prepare, Train, Tune
from cirrus.proposals import proposals
from cirrus.results import Result
from cirrus.runs import start
from cirrus.sources import Source
from cirrus.store.aside import aside
from cirrus.store.inputs import InputObject, expand, locate
from cirrus.store.opening import open_store
from cirrus.store.reading import head
from cirrus.until import epochs

SIZES = (4 << 20, 24 << 20)
"""Bytes of the input, uncompressed, that the two trials read."""

PASSES = 2  # epochs of a trial: the first fetches blocks, those that follow have them
LEAST = 1 << 16  # bytes of an object that are read at least
LOOKED_AT = 1 << 20  # bytes of a compressed object by which its ratio is found


@dataclass(frozen=True, slots=True)
class Rehearsal(Local):
    """Workers as processes of this machine, billed as if they were to be had on other terms."""

    terms: Terms = field(default_factory=Terms)

    def invoker(self, command: tuple[str, ...], clock: Clock, grace: float) -> Invoker:
        """What starts workers."""
        return _Billed(Local(self.store).invoker(command, clock, grace), self.terms)


class _Billed:
    """An invoker whose terms are others."""

    def __init__(self, inner: Invoker, terms: Terms) -> None:
        self._terms = terms
        self.invoke, self.stop, self.exits = inner.invoke, inner.stop, inner.exits
        self.watch, self.close = inner.watch, inner.close

    async def terms(self) -> Terms:
        """As if they were to be had on these."""
        return self._terms


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """What one stage would take: ``rows`` that go through, an evaluation's left out."""

    stage: str
    workers: int
    rows: float
    dollars: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would cost and take.

    ``measured`` of ``rows`` rows were looked at. ``overhead``: seconds outside of stages. ``beside``: dollars that
    belong to no stage, for the driver's requests to the store and for asking the function whether it works. ``here``:
    seconds that the same would take on this machine, with as many workers as it can carry.
    """

    stages: tuple[StageEstimate, ...]
    rows: float
    measured: float
    overhead: float
    beside: float
    here: float

    @property
    def dollars(self) -> float:
        """In all."""
        return self.beside + sum(one.dollars for one in self.stages)

    @property
    def seconds(self) -> float:
        """From the start to the end."""
        return self.overhead + sum(one.seconds for one in self.stages)

    def slowed(self, factor: float) -> Estimate:
        """With workers that take so many times as long for the same money, as those with a part of a core do."""
        return replace(self, stages=tuple(replace(one, seconds=one.seconds * factor) for one in self.stages))


@dataclass(frozen=True, slots=True)
class _Input:
    """A source and its objects; ``size``: their bytes without compression, as far as their beginning tells."""

    source: Source
    url: str
    objects: tuple[InputObject, ...]
    size: float


@dataclass(frozen=True, slots=True)
class _Seen:
    """A trial: how many bytes it read, what came of it, and its seconds."""

    size: float
    result: Result
    seconds: float


async def estimate(pipeline: Pipeline, on: Local, clock: Clock, sizes: tuple[int, int] = SIZES) -> Estimate:
    """Try the pipeline at ``on``, which is on this machine, and tell what the whole would cost and take there.

    ``PipelineError`` where a stage has no end that can be foreseen; whatever is wrong with the input.
    """
    for stage in pipeline.trains:
        samples_until(f"{stage.name}.until", stage.until, 1.0, Line(0.0, 1.0))
    data = await _looked_at(pipeline.data)
    test = await _looked_at(pipeline.prepare.test) if isinstance(pipeline.prepare.test, Source) else None
    total = data.size + (test.size if test else 0.0)
    small = replace(pipeline, stages=tuple(_small(stage) for stage in pipeline.planned), budget=Budget())
    seen = []
    with tempfile.TemporaryDirectory(prefix="cirrus-estimate-") as name:
        place = replace(on, store=Path(name) / "store")
        for number, size in enumerate(dict.fromkeys(min(float(size), total) for size in sizes)):
            folder = Path(name) / str(number)
            source, read = await _sample(data, size / total, folder / "data")
            prepare = small.prepare
            if test is not None:
                tested, more = await _sample(test, size / total, folder / "test")
                prepare, read = replace(prepare, test=tested), read + more
            trial = replace(small, data=source, stages=(prepare, *small.trains))
            began = clock.monotonic()
            async with start(trial, on=place) as run:
                result = await run.result()
            seen.append(_Seen(read, result, clock.monotonic() - began))
    return _estimated(pipeline, small, total, (seen[0], seen[-1]))


def _estimated(pipeline: Pipeline, small: Pipeline, total: float, seen: tuple[_Seen, _Seen]) -> Estimate:
    last = seen[1]
    prepared = last.result.metrics[pipeline.prepare.name]
    rows, to_train = (prepared[name] * total / last.size for name in ("rows_in", "train"))
    stages: list[StageEstimate] = []
    tunes = {stage.name: stage for stage in pipeline.learning if isinstance(stage, Tune)}
    here = 0.0
    for stage, tried in zip(pipeline.planned, small.planned, strict=True):
        mine = Forecast.of(_trial(stage, seen[0]), _trial(stage, last), tried.workers)
        forecast = mine.scaled(max(1, stage.workers))
        work, through = total, rows
        if isinstance(stage, Train):
            samples = samples_until(f"{stage.name}.until", stage.until, to_train, forecast.seconds)
            work = through = samples
            if stage.name in tunes:
                tune = tunes[stage.name]
                trials = proposals(tune).most
                work = through = samples * expected(tune.prune, trials)
                forecast = forecast.begun(trials / min(tune.at_once, trials, max(1, tune.workers)) + 1)
        here += mine.seconds.at(work)
        stages.append(
            StageEstimate(stage.name, stage.workers, through, forecast.dollars.at(work), forecast.seconds.at(work))
        )
    overhead = max(0.0, last.seconds - sum(one["seconds"] for one in last.result.metrics.values()))
    beside = Line.through(*((one.size, one.result.cost.stages.get("", 0.0)) for one in seen)).at(total)
    return Estimate(tuple(stages), rows, prepared["rows_in"], overhead, beside, here + overhead)


def _trial(stage: Prepare | Train, seen: _Seen) -> Trial:
    figures: Mapping[str, float] = seen.result.metrics[stage.name]
    work = figures["samples"] if isinstance(stage, Train) else seen.size
    return Trial(work, seen.result.cost.stages.get(stage.name, 0.0), figures["seconds"])


def _small(stage: Prepare | Train) -> Prepare | Train:
    """The stage with as many workers as this machine carries, one a core if it has too few, and with an end."""
    cores = os.cpu_count() or 1
    workers = max(1, stage.workers if stage.workers <= 2 * cores else cores)
    if not isinstance(stage, Train):
        return replace(stage, workers=workers)
    most = stage.until.most_epochs()
    return replace(stage, workers=workers, until=epochs(min(PASSES, most or PASSES)))


async def _looked_at(source: Source) -> _Input:
    """What a source's path stands for, and how much that is."""
    location = await aside(lambda: locate(source.path))
    store = open_store(location.url)
    try:
        objects = await expand(store, location)
        ratio = 1.0
        squeezed = next((one for one in objects if one.compressed), None)
        if squeezed is not None:
            data = await store.get(squeezed.key, 0, min(LOOKED_AT, squeezed.size))
            ratio = len(zlib.decompressobj(wbits=31).decompress(data)) / max(1, len(data))
    finally:
        await store.close()
    size = sum(one.size * (ratio if one.compressed else 1.0) for one in objects)
    return _Input(source, location.url, objects, max(1.0, size))


async def _sample(whole: _Input, fraction: float, folder: Path) -> tuple[Source, float]:
    """The input's beginning as files below ``folder``, or the input itself where all of it is wanted; its bytes."""
    if fraction >= 1.0:
        return whole.source, whole.size
    await aside(partial(folder.mkdir, parents=True))
    store, read, wanted = open_store(whole.url), 0, fraction * whole.size
    try:
        for one in whole.objects:
            lines = await head(store, one, max(LEAST, int(wanted - read)))
            await aside(partial((folder / f"{one.number:06}").write_bytes, lines))
            read += len(lines)
            if read >= wanted:
                break
    finally:
        await store.close()
    return replace(whole.source, path=f"{folder}/"), float(read)
