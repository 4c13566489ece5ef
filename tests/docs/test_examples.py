"""The examples do what they say, in small."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from aiohttp.test_utils import TestClient, TestServer

from cirrus.testing.data import criteo_like
from examples.embedded_service import clicks, service

ROOT = Path(__file__).parents[2]
EXAMPLES = {path.name for path in (ROOT / "examples").glob("*.py")}
TRIED = {"criteo.py", "live_scaling.py", "embedded_service.py"}


def example(name: str, *words: object) -> str:
    """What the example printed."""
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_is_tried_here() -> None:
    assert EXAMPLES == TRIED


def test_criteo_on_made_up_rows(tmp_path: Path) -> None:
    shown = example("criteo.py", "--rows", 3000, "--store", tmp_path / "store")
    assert "the best log loss that is possible on these rows is 0.4" in shown
    assert "3,000 rows, 0 of them skipped" in shown
    assert "chances of a click: 0." in shown


def test_criteo_on_a_file(tmp_path: Path) -> None:
    criteo_like(tmp_path / "train.txt", 2000, seed=3)
    shown = example("criteo.py", tmp_path / "train.txt", "--store", tmp_path / "store")
    assert shown.startswith("2,000 rows, 0 of them skipped")


def test_workers_are_scaled_while_they_train(tmp_path: Path) -> None:
    shown = example("live_scaling.py", "--rows", 10_000, "--epochs", 60, "--store", tmp_path / "store")
    lines = iter([line.partition(" s  ")[2] for line in shown.splitlines()])
    order = ["6 workers are wished for", "6 workers are here", "0 workers are wished for", "0 workers are here"]
    order += ["3 workers are wished for", "3 workers are here"]
    assert all(line in lines for line in order), shown  # each is looked for after the one before
    assert shown.splitlines()[-1].endswith("workers in all")


def test_a_service_trains_and_predicts(tmp_path: Path) -> None:
    asyncio.run(serve_and_ask(tmp_path))


async def serve_and_ask(tmp_path: Path) -> None:
    criteo_like(tmp_path / "rows.tsv", 3000, seed=2)
    app = service(clicks(str(tmp_path / "rows.tsv")), tmp_path / "store")
    async with TestClient(TestServer(app)) as client:
        state = await (await client.get("/state")).json()
        assert state["run"].startswith("service-")
        assert state["cost"]["dollars"] == 0
        chances = await (await client.post("/predict", json=[{"I1": 1, "C1": "68fd1e64"}, {}])).json()
        assert len(chances) == 2
        assert all(0 < chance < 1 for chance in chances)
        told = [json.loads(line)["event"] async for line in (await client.get("/events")).content]
        assert (told[0], told[-1]) == ("RunStarted", "RunFinished")
        refused = await client.post("/predict", json=[{"town": "Bern"}])
        assert refused.status == 400
        assert "'town'" in await refused.text()
