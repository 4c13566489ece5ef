"""A web service that trains a model while it serves: its state, its events as they happen, and predictions.

    python examples/embedded_service.py --port 8080
    curl localhost:8080/state
    curl localhost:8080/events
    curl -d '[{"I1": 1, "C1": "68fd1e64"}]' localhost:8080/predict

The run is a part of the service: it begins with it, lives on the same event loop, and ends with it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from argparse import ArgumentParser
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

import cirrus
from cirrus import Bucket, Hash, Pipeline, Prepare, Train, epochs
from cirrus.testing.data import criteo_like

RUN: web.AppKey[cirrus.Run] = web.AppKey("run", cirrus.Run)


def clicks(path: str) -> Pipeline:
    """What the service trains."""
    return Pipeline(
        name="service",
        data=cirrus.criteo(path),
        stages=(
            Prepare(steps=(Bucket(), Hash(bits=18))),
            Train(until=epochs(2), workers=2),
        ),
    )


def service(pipeline: Pipeline, store: Path | None = None) -> web.Application:
    """An application that runs the pipeline as long as it is up."""

    async def training(app: web.Application) -> AsyncIterator[None]:
        async with cirrus.start(pipeline, on=cirrus.local(store)) as run:
            app[RUN] = run
            yield
            await run.kill(reason="the service stops")  # does nothing where the run is over

    app = web.Application()
    app.cleanup_ctx.append(training)
    app.add_routes([web.get("/state", state), web.get("/events", events), web.post("/predict", predict)])
    return app


async def state(request: web.Request) -> web.Response:
    """The run's id, its workers, and what it has cost until now."""
    run = request.app[RUN]
    workers = [dataclasses.asdict(worker) for worker in run.workers]
    return web.json_response({"run": run.run_id, "workers": workers, "cost": dataclasses.asdict(run.cost)})


async def events(request: web.Request) -> web.StreamResponse:
    """Everything that has happened and what happens from now on, a JSON object a line, to the run's end."""
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    async for event in request.app[RUN].events():
        line = {"event": type(event).__name__, **dataclasses.asdict(event)}
        await response.write(json.dumps(line).encode() + b"\n")
    await response.write_eof()
    return response


async def predict(request: web.Request) -> web.Response:
    """The chance of a click for each row of the body; waits for the model while it is not there."""
    rows = await request.json()
    model = (await request.app[RUN].result()).model
    try:
        chances = await asyncio.to_thread(model.predict_proba, rows)
    except cirrus.InputError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
    return web.json_response(chances[:, 1].tolist())


def main() -> None:
    """Serve until Ctrl-C."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--rows", type=int, default=100_000, help="how many rows to make up (100000)")
    parser.add_argument("--store", type=Path, help="the folder of the run's objects (~/.cirrus)")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        criteo_like(f"{folder}/rows.tsv", words.rows)
        web.run_app(service(clicks(f"{folder}/rows.tsv"), words.store), host="127.0.0.1", port=words.port)


if __name__ == "__main__":
    main()
