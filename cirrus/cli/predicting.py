"""``cirrus predict``: probabilities for rows like those that a model was trained on."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
from argparse import Namespace
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from cirrus.cli.listing import document
from cirrus.cli.output import print_json
from cirrus.cloud.places import local
from cirrus.errors import InputError, NotFound, PipelineError, StoreError
from cirrus.learn.layouts import first_line
from cirrus.learn.records import Record
from cirrus.sources import CsvSource, Source
from cirrus.store.base import ObjectStore
from cirrus.store.inputs import InputObject, expand, locate, plan_splits
from cirrus.store.opening import open_store
from cirrus.store.reading import Chunk, head, lines
from cirrus.trained import Model


async def predict(arguments: Namespace) -> None:
    """Print one probability a row, or all of them as one JSON object."""
    model = await _model(arguments.model, arguments.store)
    probabilities: list[float] = []
    location = await asyncio.to_thread(locate, arguments.data)
    store = open_store(location.url)
    try:
        objects = await expand(store, location)
        header = await _header(store, objects[0], model.encoder.source)
        for split in plan_splits(objects):
            async with aclosing(lines(store, split, header)) as chunks:
                async for chunk in chunks:
                    found = await asyncio.to_thread(_probabilities, model, chunk, header, split.object.name)
                    if arguments.json:
                        probabilities += found
                    else:
                        print("\n".join(f"{one:.6f}" for one in found))
    finally:
        await store.close()
    if arguments.json:
        print_json({"probabilities": probabilities})


async def _header(store: ObjectStore, one: InputObject, source: Source) -> bytes:
    """The first line where it names the model's columns; nothing where it is a row."""
    if not isinstance(source, CsvSource) or not source.columns:
        return b""
    first = first_line(await head(store, one, 1 << 16))
    named = next(csv.reader([first.decode(errors="replace")], delimiter=source.delimiter), [])
    missing = [column for column in source.columns if column not in named]
    if 2 * len(missing) > len(source.columns):
        return b""
    if missing:
        raise InputError(one.name, f"no such column; there are {', '.join(map(repr, named))}", 1, missing[0])
    return first


def _records(rows: Sequence[bytes], header: bytes, source: Source) -> Sequence[Record]:
    """The rows as they are, or by name where a header says which column is which."""
    if not header or not isinstance(source, CsvSource):
        return rows
    texts = [one.decode(errors="surrogateescape") for one in (header, *rows)]
    return [
        {name: value or None for name, value in row.items() if name is not None}
        for row in csv.DictReader(texts, delimiter=source.delimiter)
    ]


def _probabilities(model: Model, chunk: Chunk, header: bytes, name: str) -> list[float]:
    """One for each line of the chunk that is not blank."""
    numbered = [(chunk.line + k, one) for k, one in enumerate(chunk.data.split(b"\n")) if one.strip()]
    try:
        records = _records([one for _, one in numbered], header, model.encoder.source)
        found: list[float] = model.predict_proba(records)[:, 1].tolist()
    except InputError as error:
        line = numbered[error.line - 1][0] if error.line else 0
        raise InputError(name, error.problem, line, error.column) from error
    return found


async def _model(name: str, folder: str | None) -> Model:
    """The model in a file, or the one of a run."""
    if await asyncio.to_thread(Path(name).is_file):
        return await asyncio.to_thread(Model.load, name)
    store = open_store(local(folder).url)
    try:
        for stage in await _stages(store, name):
            key = f"runs/{name}/{stage}/model.safetensors"
            with contextlib.suppress(NotFound):
                return await asyncio.to_thread(Model.from_bytes, await store.get(key), key)
    finally:
        await store.close()
    raise PipelineError("MODEL", name, "a file that a model was saved to, or the id of a run that has trained one")


async def _stages(store: ObjectStore, run_id: str) -> list[str]:
    """The stages of a run, the last one first; none where there is no such run."""
    try:
        run = await document(store, f"runs/{run_id}/run.json")
        return [str(stage["name"]) for stage in reversed(json.loads(str(run["pipeline"]))["stages"])]
    except (KeyError, StoreError):
        return []
