"""``cirrus predict``: probabilities for rows like those that a model was trained on."""

from __future__ import annotations

import asyncio
import csv
from argparse import Namespace
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

from cirrus.cli.output import print_json
from cirrus.cloud.places import local
from cirrus.errors import InputError, PipelineError
from cirrus.learn.layouts import first_line
from cirrus.learn.records import Record
from cirrus.sources import CsvSource, Source
from cirrus.store.base import ObjectStore
from cirrus.store.inputs import InputObject, expand, locate, plan_splits
from cirrus.store.opening import open_store
from cirrus.store.reading import head, lines
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
                    place = (split.object.name, chunk.line)
                    records = _records(chunk.data, header, model.encoder.source)
                    found = await asyncio.to_thread(_probabilities, model, records, place)
                    if arguments.json:
                        probabilities += found
                    else:
                        print("\n".join(f"{one:.6f}" for one in found))
    finally:
        await store.close()
    if arguments.json:
        print_json({"probabilities": probabilities})


async def _header(store: ObjectStore, one: InputObject, source: Source) -> bytes:
    """The first line where it names columns that the model knows; nothing where it is a row."""
    if not isinstance(source, CsvSource) or not source.columns:
        return b""
    first = first_line(await head(store, one, 1 << 16))
    named = next(csv.reader([first.decode(errors="replace")], delimiter=source.delimiter), [])
    return first if set(source.columns) <= set(named) else b""


def _records(data: bytes, header: bytes, source: Source) -> Sequence[Record]:
    """The rows of whole lines: as they are, or by name where a header says which column is which."""
    rows = [one for one in data.splitlines() if one.strip()]
    if not header or not isinstance(source, CsvSource):
        return rows
    texts = [one.decode(errors="surrogateescape") for one in (header, *rows)]
    return [
        {name: value or None for name, value in row.items() if name is not None}
        for row in csv.DictReader(texts, delimiter=source.delimiter)
    ]


def _probabilities(model: Model, records: Sequence[Record], place: tuple[str, int]) -> list[float]:
    name, line = place
    try:
        found: list[float] = model.predict_proba(records)[:, 1].tolist()
    except InputError as error:
        raise InputError(name, error.problem, line - 1 + error.line if error.line else 0, error.column) from error
    return found


async def _model(name: str, folder: str | None) -> Model:
    """The model in a file, or the one of a run."""
    if await asyncio.to_thread(Path(name).is_file):
        return await asyncio.to_thread(Model.load, name)
    store = open_store(local(folder).url)
    try:
        async for info in store.list(f"runs/{name}/"):
            if info.key.endswith("/model.safetensors"):
                return await asyncio.to_thread(Model.from_bytes, await store.get(info.key), info.key)
    finally:
        await store.close()
    raise PipelineError("MODEL", name, "a file that a model was saved to, or the id of a run that has trained one")
