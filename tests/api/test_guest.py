"""A run inside somebody else's service: the loop goes on turning, and nothing stays behind."""

import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from aiohttp import ClientSession, web

from cirrus.cloud.places import local
from cirrus.models import LogisticRegression
from cirrus.optimizers import Adagrad
from cirrus.pipeline import Pipeline, Prepare, Train
from cirrus.results import Result
from cirrus.runs import run
from cirrus.sources import criteo
from cirrus.steps import Bucket, Hash, every
from cirrus.testing.data import criteo_like
from cirrus.until import epochs
from tests.api.heartbeat import Heartbeat
from tests.api.household import Household

ROOT = Path(__file__).parents[2]
STALL = 0.05


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks") / "clicks.tsv"
    criteo_like(path, 20_000, seed=3)
    return path


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def pipeline(path: Path, bits: int = 18) -> Pipeline:
    train = Train(
        model=LogisticRegression(l2=1e-6), optimizer=Adagrad(), until=epochs(2), workers=2, shards=2, evaluate=0.2
    )
    return Pipeline(
        name="guest",
        data=criteo(path),
        stages=(Prepare(steps=(Bucket(), Hash(bits=bits)), test=every(5, at=4), block=1000), train),
    )


@asynccontextmanager
async def service(task: Pipeline, store: Path) -> AsyncIterator[str]:
    """A small web service; ``/run`` answers with a run's figures, and with what has changed in the house since."""

    async def run_it(_: web.Request) -> web.Response:
        before = Household.now()
        result = await run(task, on=local(store))
        return web.json_response({"loss": result.metrics["train"]["log_loss"], "changes": before.changes()})

    app = web.Application()
    app.add_routes([web.get("/run", run_it)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_a_run_inside_a_service_never_stalls_it_and_leaves_nothing_behind(
    clicks: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    pulse = Heartbeat()
    async with service(pipeline(clicks), tmp_path / "store") as url, ClientSession() as client:
        beating = asyncio.ensure_future(pulse.beat())
        async with client.get(f"{url}/run") as answer:
            told = await answer.json()
        beating.cancel()
        await asyncio.wait((beating,))
    record_property("longest pause", pulse.longest)
    record_property("busiest turn", pulse.busiest)
    print(f"longest pause {1000 * pulse.longest:.1f} ms; the loop's thread computed {1000 * pulse.busiest:.1f} at most")
    assert told["changes"] == []
    assert not list(Path(tempfile.gettempdir()).iterdir())
    assert 0.0 < told["loss"] < 0.65
    assert pulse.busiest < STALL


def test_the_first_run_of_a_process_does_not_stall_its_loop_with_imports(
    clicks: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    command = [sys.executable, "-m", "tests.api.fresh_guest", str(clicks), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    told = json.loads(done.stdout)
    record_property("longest pause of a first run", told["longest"])
    record_property("busiest turn of a first run", told["busiest"])
    print(f"longest pause {1000 * told['longest']:.1f} ms; the thread computed {1000 * told['busiest']:.1f} at most")
    assert 0.0 < told["loss"] < 0.69
    assert told["busiest"] < STALL


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_run_in_the_loop_of_another_thread_leaves_nothing_behind(
    clicks: Path, tmp_path: Path, make_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    results: list[Result] = []

    def drive() -> None:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            results.append(runner.run(run(pipeline(clicks), on=local(tmp_path / "store"))))

    before = Household.now()
    thread = threading.Thread(target=drive)
    thread.start()
    thread.join()
    assert before.changes() == []
    assert [0.0 < one.metrics["train"]["log_loss"] < 0.65 for one in results] == [True]
