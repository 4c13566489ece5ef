"""``cirrus predict``: probabilities for rows like those that a model was trained on."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from contextlib import aclosing
from pathlib import Path

from cirrus.cli.output import print_json
from cirrus.cloud.places import local
from cirrus.errors import InputError, NotFound, PipelineError
from cirrus.store.inputs import expand, locate, plan_splits
from cirrus.store.opening import open_store
from cirrus.store.reading import lines
from cirrus.trained import Model


async def predict(arguments: Namespace) -> None:
    """Print one probability a row, or all of them as one JSON object."""
    model = await _model(arguments.model, arguments.store)
    probabilities: list[float] = []
    location = await asyncio.to_thread(locate, arguments.data)
    store = open_store(location.url)
    try:
        for split in plan_splits(await expand(store, location)):
            async with aclosing(lines(store, split, model.header)) as chunks:
                async for chunk in chunks:
                    found = await asyncio.to_thread(_probabilities, model, chunk.data, split.object.name, chunk.line)
                    if arguments.json:
                        probabilities += found
                    else:
                        print("\n".join(f"{one:.6f}" for one in found))
    finally:
        await store.close()
    if arguments.json:
        print_json({"probabilities": probabilities})


def _probabilities(model: Model, data: bytes, name: str, line: int) -> list[float]:
    records = [one for one in data.splitlines() if one.strip()]
    try:
        found: list[float] = model.predict_proba(records)[:, 1].tolist()
    except InputError as error:
        raise InputError(name, error.problem, line - 1 + error.line if error.line else 0, error.column) from error
    return found


async def _model(name: str, folder: str | None) -> Model:
    """The model in a file, or the one of a run."""
    if Path(name).is_file():
        return await asyncio.to_thread(Model.load, Path(name))
    store = open_store(local(folder).url)
    try:
        async for info in store.list(f"runs/{name}/"):
            if info.key.endswith("/model.safetensors"):
                return await asyncio.to_thread(Model.from_bytes, await store.get(info.key), info.key)
    except NotFound:
        pass
    finally:
        await store.close()
    raise PipelineError("MODEL", name, "a file that a model was saved to, or the id of a run that has trained one")
