"""The real tools read what a run says, point for point; and with each of them down the run is what it was."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import re
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from prometheus_client.parser import text_string_to_metric_families

import cirrus
from cirrus import Bucket, Hash, LossReported, Pipeline, Prepare, Result, Sink, SinkView, Train, TrialFinished, epochs
from cirrus.actors.bus import EventBus
from cirrus.clock import SystemClock
from cirrus.events import Event, TrialStarted
from cirrus.sinks.lines import figures, line
from cirrus.sinks.outlets import outlets
from cirrus.testing.data import criteo_like
from tests.api.household import Household
from tests.sinks.told import OUTCOMES, RUN, tuned

Curves = dict[tuple[str, str], list[tuple[int, float]]]
"""Steps and values of a figure, by line and name."""

TUNED = tuned()

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def _mlflow_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for module in ("mlflow", "tensorboard.summary.writer.record_writer"):
        importlib.import_module(module)  # which takes seconds on a busy machine, and is not what is tried here


@pytest.fixture(scope="module")
def clicks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clicks") / "clicks.tsv"
    criteo_like(path, 4000, seed=3)
    return path


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        found: int = free.getsockname()[1]
        return found


def pipeline(path: Path) -> Pipeline:
    steps, train = (Bucket(), Hash(bits=12)), Train(until=epochs(20), workers=1, evaluate=0.05)
    return Pipeline(
        name="told", data=cirrus.criteo(str(path)), stages=(Prepare(steps=steps, test=0.2, workers=1), train)
    )


def tuning(path: Path) -> Pipeline:
    prepare, train = pipeline(path).stages
    assert isinstance(train, Train)
    space = {"optimizer.rate": cirrus.log_uniform(0.01, 0.5), "model.l2": cirrus.choice(0.0, 1e-6)}
    tune = cirrus.Tune(replace(train, until=epochs(4)), space=space, trials=4, at_once=2, workers=2)
    return replace(pipeline(path), stages=(prepare, tune, Train.best(workers=1)))


async def tell(said: Sequence[Event], *sinks: Sink) -> tuple[SinkView, ...]:
    bus = EventBus()
    async with outlets(bus, sinks, SystemClock()) as opened:
        for event in said:
            bus.publish(event)
    return opened.views


def expected(said: Sequence[Event]) -> Curves:
    found: Curves = {}
    for event in said:
        if isinstance(event, LossReported | TrialFinished):
            for name, value in figures(event).items():
                found.setdefault((line(event.stage, event.trial), name), []).append((event.samples, value))
    return found


def same(found: Curves, wanted: Curves, within: float = 0.0) -> None:
    assert set(found) == set(wanted)
    for key, points in wanted.items():
        assert [step for step, _ in found[key]] == [step for step, _ in points], key
        values = [value for _, value in points]
        assert [value for _, value in found[key]] == pytest.approx(values, rel=within, abs=0.0, nan_ok=True), key


def in_tensorboard(folder: Path) -> Curves:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Curves = {}
    for file in sorted(folder.rglob("events.out.tfevents.*")):
        reader = EventAccumulator(str(file.parent)).Reload()
        name = str(file.parent.relative_to(folder))
        for tag in reader.Tags()["scalars"]:
            found[name, tag] = [(point.step, point.value) for point in reader.Scalars(tag)]
    return {key: points for key, points in found.items() if key[0] != "."}


def in_mlflow(uri: str, run_id: str) -> tuple[Curves, dict[str, Any]]:
    """Curves, and the runs of MLflow by line."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("cirrus")
    assert experiment is not None
    found: Curves = {}
    runs: dict[str, Any] = {}
    for run in client.search_runs([experiment.experiment_id], f"tags.`cirrus.run` = '{run_id}'"):
        name = run.data.tags["cirrus.line"]
        assert name not in runs, "each line has one run"
        runs[name] = run
        for key in run.data.metrics if name else ():
            history = sorted(client.get_metric_history(run.info.run_id, key), key=lambda one: (one.timestamp, one.step))
            found[name, key] = [(one.step, one.value) for one in history]
    return found, runs


def in_prometheus(text: str) -> dict[tuple[str, str], float]:
    """The newest value of each figure, by line and name."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        for sample in family.samples:
            if "trial" in sample.labels:
                trial = int(sample.labels["trial"]) if sample.labels["trial"] else None
                name = sample.name.removeprefix("cirrus_").replace("line_dollars", "dollars")
                found[line(sample.labels["stage"], trial), name] = sample.value
    return found


def newest(said: Sequence[Event]) -> dict[tuple[str, str], float]:
    found = {key: points[-1][1] for key, points in expected(said).items()}
    samples = {(name, "samples"): float(points[-1][0]) for (name, _), points in expected(said).items()}
    return found | samples


async def test_all_tools_show_what_the_log_of_a_real_run_says(clicks: Path, tmp_path: Path, port: int) -> None:
    store, uri = cirrus.local(tmp_path / "store"), f"file://{tmp_path}/mlflow"
    sinks = (
        cirrus.jsonl(tmp_path / "events.jsonl"),
        cirrus.tensorboard(tmp_path / "curves"),
        cirrus.mlflow(tracking_uri=uri),
        cirrus.prometheus(port=port),
    )
    async with cirrus.start(tuning(clicks), on=store, sinks=sinks) as run:
        await run.result()
        async with ClientSession() as client, client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            shown = in_prometheus(await answer.text())
    assert [view.dropped for view in run.sinks] == [0, 0, 0, 0]
    said = [event async for event in cirrus.attach(run.run_id, on=store)]
    wanted = expected(said)
    lines = {"train", *(f"tune/trial{trial}" for trial in range(4))}
    assert {name for name, _ in wanted} == lines
    assert len(wanted["tune/trial0", "log_loss"]) >= 2
    parts = sorted((tmp_path / "store/runs" / run.run_id / "events").iterdir())
    assert (tmp_path / "events.jsonl").read_bytes() == b"".join(part.read_bytes() for part in parts)
    same(in_tensorboard(tmp_path / "curves" / run.run_id), wanted, 1e-7)
    curves, runs = in_mlflow(uri, run.run_id)
    same(curves, wanted)
    assert {name: one.info.status for name, one in runs.items()} == dict.fromkeys(
        ("", "prepare", "tune", *lines), "FINISHED"
    )
    told = {line(one.stage, one.trial): one.settings for one in said if isinstance(one, TrialStarted)}
    assert len(told) == 4
    for name, settings in told.items():
        assert runs[name].data.params == {key: str(value) for key, value in settings.items()}
    assert shown == newest(said)


async def test_trials_are_lines_with_their_settings(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/mlflow"
    views = await tell(TUNED, cirrus.tensorboard(tmp_path / "curves"), cirrus.mlflow(tracking_uri=uri))
    assert [view.dropped for view in views] == [0, 0]
    wanted = expected(TUNED)
    same(in_tensorboard(tmp_path / "curves" / RUN), wanted, 1e-7)
    curves, runs = in_mlflow(uri, RUN)
    same(curves, wanted)
    states = ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    for trial, outcome in enumerate(OUTCOMES):
        run = runs[f"tune/trial{trial}"]
        assert (run.info.status, run.data.tags["cirrus.outcome"]) == (states[trial], outcome)
        assert run.data.tags["mlflow.parentRunId"] == runs[""].info.run_id
        settings = next(one.settings for one in TUNED if isinstance(one, TrialStarted) and one.trial == trial)
        assert run.data.params == {name: str(value) for name, value in settings.items()}


def test_settings_are_in_the_table_of_hyper_parameters(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    asyncio.run(tell(TUNED, cirrus.tensorboard(tmp_path)))
    reader = EventAccumulator(str(tmp_path / RUN / "tune/trial2")).Reload()
    content = reader.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    told = metadata.parse_session_start_info_plugin_data(content).hparams
    assert told["optimizer.rate"].number_value == pytest.approx(0.3)
    assert told["kind"].string_value == "<img onerror=x> 2"
    assert told["fast"].bool_value is True


async def test_a_run_that_goes_on_has_the_same_lines(tmp_path: Path) -> None:
    uri = f"file://{tmp_path}/mlflow"
    for said in (TUNED[:20], [TUNED[0], *TUNED[20:]]):
        await tell(said, cirrus.tensorboard(tmp_path / "curves"), cirrus.mlflow(tracking_uri=uri))
    curves, runs = in_mlflow(uri, RUN)
    same(curves, expected(TUNED))
    assert runs[""].info.status == "FINISHED"
    same(in_tensorboard(tmp_path / "curves" / RUN), expected(TUNED), 1e-7)


def test_prometheus_has_the_newest_point_of_each_curve_at_every_moment() -> None:
    page = cirrus.Exposition()
    assert page.text() == ""
    for number, event in enumerate(TUNED):
        page.take(event)
        shown = in_prometheus(page.text())
        assert {key: repr(float(value)) for key, value in shown.items()} == {
            key: repr(float(value)) for key, value in newest(TUNED[: number + 1]).items()
        }
    text = page.text()
    assert f'cirrus_run_finished{{run="{RUN}",outcome="done"}} 1' in text
    for outcome in OUTCOMES:
        assert f'cirrus_trials_finished_total{{run="{RUN}",stage="tune",outcome="{outcome}"}} 1' in text
    assert f'cirrus_trials_running{{run="{RUN}",stage="tune"}} 0' in text
    assert f'cirrus_memory_megabytes{{run="{RUN}",part="shards"}} 120.0' in text


async def test_nothing_of_a_sink_stays_behind(tmp_path: Path, port: int) -> None:
    warm = cirrus.tensorboard(tmp_path / "warm"), cirrus.prometheus(port=port)
    await tell(TUNED, *warm)  # what is imported with them is there to stay
    before = await Household.warm()
    sinks = cirrus.jsonl(tmp_path / "events"), cirrus.tensorboard(tmp_path / "curves"), cirrus.prometheus(port=port)
    views = await tell(TUNED, *sinks)
    assert before.changes() == []
    assert [view.dropped for view in views[:2]] == [0, 0]


async def test_the_page_of_figures_answers_only_those_who_ask_this_machine(port: int) -> None:
    bus = EventBus()
    async with outlets(bus, (cirrus.prometheus(port=port),), SystemClock()), ClientSession() as client:
        bus.publish(TUNED[0])
        url = f"http://127.0.0.1:{port}"
        while True:
            try:
                async with client.get(f"{url}/metrics") as answer:
                    assert answer.status == 200
                break
            except OSError:
                continue
        for host, status in (("evil.example", 403), (f"localhost:{port}", 200), (f"[::1]:{port}", 200)):
            async with client.get(f"{url}/metrics", headers={"Host": host}) as answer:
                assert answer.status == status
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            async with client.request(method, f"{url}/metrics") as answer:
                assert answer.status == 405
        async with client.get(f"{url}/") as answer:
            assert answer.status == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])
def test_beyond_loopback_it_has_to_be_said(host: str) -> None:
    with pytest.raises(cirrus.PipelineError, match="host"):
        cirrus.prometheus(host=host)
    cirrus.prometheus(host=host, exposure="insecure")


@pytest.fixture
def down(tmp_path: Path) -> Iterator[tuple[Sink, ...]]:
    """Sinks none of which can be reached: no folder, a full disk, a refused or silent server, a port that is taken."""
    (tmp_path / "file").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as refusing:
        refused = refusing.getsockname()[1]
        refusing.close()
        yield (
            cirrus.jsonl(tmp_path / "file/events.jsonl"),
            cirrus.jsonl("/dev/full"),
            cirrus.tensorboard(tmp_path / "file/curves"),
            cirrus.mlflow(tracking_uri=f"http://127.0.0.1:{refused}"),
            cirrus.mlflow(tracking_uri=f"http://127.0.0.1:{silent.getsockname()[1]}"),
            cirrus.prometheus(port=silent.getsockname()[1]),
        )


def figures_of(result: Result) -> dict[str, object]:
    """What does not depend on the hour."""
    train = result.metrics["train"]
    return {name: train[name] for name in ("samples", "steps", "log_loss", "auc", "accuracy")}


async def test_with_each_of_them_down_the_run_is_the_same(clicks: Path, tmp_path: Path, down: tuple[Sink, ...]) -> None:
    alone = await cirrus.run(pipeline(clicks), on=cirrus.local(tmp_path / "alone"))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        async with cirrus.start(pipeline(clicks), on=cirrus.local(tmp_path / "store"), sinks=down) as run:
            result = await run.result()
    assert figures_of(result) == figures_of(alone)
    said = [event async for event in cirrus.attach(run.run_id, on=cirrus.local(tmp_path / "store"))]
    assert [view.dropped >= len(said) - 1 for view in run.sinks] == [True] * len(down), run.sinks
    assert all(view.problem for view in run.sinks)
    told = [str(one.message) for one in warned if one.category is RuntimeWarning]
    assert [re.sub(r"^\d+ events did not reach (\w+)\(.*", r"\1", one, flags=re.DOTALL) for one in told] == [
        "jsonl", "jsonl", "tensorboard", "mlflow", "mlflow", "prometheus",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda: cirrus.prometheus(port=0), "port"),
        (lambda: cirrus.prometheus(exposure="open"), "exposure"),  # type: ignore[arg-type]
        (lambda: cirrus.mlflow(experiment=""), "experiment"),
        (lambda: cirrus.mlflow(tracking_uri=""), "tracking_uri"),
    ],
)
def test_what_is_wrong_is_said_at_once(wrong: Any, field: str) -> None:
    with pytest.raises(cirrus.PipelineError) as caught:
        wrong()
    assert caught.value.field == field


async def test_no_password_of_a_tracking_server_is_shown(port: int) -> None:
    sink = cirrus.mlflow(tracking_uri=f"http://me:s3cr%40t@127.0.0.1:{port}")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        views = await tell(TUNED, sink)
    assert views[0].dropped
    assert str(port) in views[0].problem
    for text in (repr(sink), repr(views), *[str(one.message) for one in warned]):
        assert not re.search("s3cr|me:", text)


async def test_only_sinks_are_sinks(clicks: Path) -> None:
    with pytest.raises(cirrus.PipelineError, match=r"sinks\[1\]"):
        await cirrus.run(pipeline(clicks), sinks=(cirrus.jsonl(os.devnull), print))  # type: ignore[arg-type]


@pytest.mark.parametrize(("end", "outcome"), [("kill", "killed"), ("raise", "parked"), ("cancel", "parked")])
async def test_the_last_word_arrives_however_a_run_ends(clicks: Path, tmp_path: Path, end: str, outcome: str) -> None:
    long = replace(
        pipeline(clicks), stages=(pipeline(clicks).stages[0], Train(until=epochs(1_000_000), workers=1, evaluate=0.05))
    )
    sinks = (cirrus.jsonl(tmp_path / "events.jsonl"), cirrus.tensorboard(tmp_path / "curves"))

    async def drive() -> None:
        async with cirrus.start(long, on=cirrus.local(tmp_path / "store"), sinks=sinks) as run:
            async for event in run.events():
                if isinstance(event, LossReported):
                    break
            if end == "kill":
                await run.kill()
            elif end == "raise":
                raise ZeroDivisionError
            else:
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.Event().wait()

    driving = asyncio.ensure_future(drive())
    await asyncio.wait((driving,))
    assert driving.cancelled() == (end == "cancel")
    if end == "raise":
        assert isinstance(driving.exception(), ZeroDivisionError)
    last = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])["event"]
    assert (last["type"], last["outcome"]) == ("RunFinished", outcome)
    run_id = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[0])["event"]["run_id"]
    assert in_tensorboard(tmp_path / "curves" / run_id)["train", "log_loss"]
