"""What a notebook is shown: right, bounded, escaped; and nothing where there is no notebook."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cirrus
from cirrus import Hash, Pipeline, Prepare, Train, epochs, pictures
from cirrus.actors.bus import EventBus
from cirrus.clock import SystemClock
from cirrus.core.cost import Cost
from cirrus.core.views import Trial
from cirrus.events import Event, LossReported, TrialFinished, TrialStarted
from cirrus.notebook import BEST, MOST_POINTS, Cell, Picture
from cirrus.sinks.outlets import outlets
from tests.sinks.told import OUTCOMES, POINTS, RUN, loss, tuned

TUNED = tuned()
EVIL = "</td><img src=x onerror=alert(1)>'\"&"
ROOT = Path(__file__).parents[2]


def parsed(html: str) -> ET.Element:
    """As strict a reader as there is."""
    return ET.fromstring(html)


def curves(html: str) -> list[int]:
    """How many points each curve of the chart has."""
    return [len(one.attrib["points"].split()) for one in parsed(html).iter("polyline")]


def words(html: str) -> str:
    return " | ".join(parsed(html).itertext())


def test_a_picture_has_stages_trials_and_a_chart() -> None:
    html = Picture(TUNED).html()
    assert curves(html) == [POINTS - 1] * len(OUTCOMES) + [POINTS]
    shown = words(html)
    for sign in (f"{RUN}: done", "tune", "train", "tune/trial0", "<img onerror=x> 2", "pruned", "0.3900", "$0.0500"):
        assert sign in shown


def test_every_moment_of_a_run_can_be_shown() -> None:
    picture = Picture()
    parsed(picture.html())
    for event in TUNED:
        picture.take(event)
        assert "nan" not in str(curves(picture.html()))
    assert "running" in Picture(TUNED[:30]).title


def test_whatever_comes_from_outside_is_text() -> None:
    said: list[Event] = [
        *TUNED,
        TrialStarted(at=20.0, stage="tune", trial=9, settings={EVIL: EVIL}),
        TrialFinished(at=21.0, stage="tune", trial=9, outcome="killed", reason=EVIL, loss=0.1, samples=1, dollars=0.0),
        loss(22.0, 9, 1),
        replace(loss(23.0, None, 1), stage=EVIL),
    ]
    trial = Trial("tune", 9, {EVIL: EVIL}, "done", EVIL, 0.1, 1, 0.0)
    result = cirrus.Result(EVIL, {EVIL: {EVIL: 1.0}}, Cost(0.0, 0.0, 0.0, 0, 0.0), (), None, (trial,))
    for html in (Picture(said).html(), result._repr_html_()):
        tags = {one.tag for one in parsed(html).iter()}
        assert "img" not in tags
        assert not any(name.startswith("on") for one in parsed(html).iter() for name in one.attrib)
        assert EVIL in words(html)


def test_a_picture_stays_small_however_long_a_run_is() -> None:
    picture = Picture(TUNED[:6])
    for number in range(10_000):
        picture.take(loss(float(number), number % 100, number))
    html = picture.html()
    assert len(html) < 400_000
    assert max(curves(html)) <= MOST_POINTS
    for number in range(100_000):
        picture.take(loss(float(number), None, number))
    assert MOST_POINTS / 2 <= max(curves(picture.html())) <= MOST_POINTS


def test_only_the_best_have_colours() -> None:
    said: list[Event] = [
        event
        for trial in range(30)
        for event in (
            TrialStarted(at=0.0, stage="tune", trial=trial, settings={"rate": trial}),
            loss(1.0, trial, 100, 0.9 - trial / 100),
            loss(2.0, trial, 200, 0.8 - trial / 100),
        )
    ]
    html = Picture(said).html()
    labels = {text for text in parsed(html).itertext() if text.startswith("tune/")}
    assert labels == {f"tune/trial{trial}" for trial in range(30 - BEST, 30)}
    assert "10 more" in words(html)


def test_a_chart_leaves_out_what_is_no_number_and_cuts_off_what_is_far_away() -> None:
    nan, inf = float("nan"), float("inf")
    assert pictures.chart("a", "b", [pictures.Curve([(1.0, nan), (2.0, inf)], "c")]) == ""
    faint = pictures.Curve([(0.0, 1e9), (1.0, nan), (2.0, 1e9)])
    html = pictures.chart("a", "b", [faint, pictures.Curve([(0.0, 0.5)], "c")])
    assert curves(html) == [2, 1]
    heights = [
        float(place.split(",")[1]) for one in parsed(html).iter("polyline") for place in one.attrib["points"].split()
    ]
    assert all(0.0 <= height <= pictures.HEIGHT for height in heights)


async def test_a_notebook_that_fails_ends_nothing() -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the page is gone")

    bus = EventBus()
    async with outlets(bus, (Cell(broken),), SystemClock()) as opened:
        for event in TUNED:
            bus.publish(event)
    assert [(view.dropped, view.problem) for view in opened.views] == [(0, "RuntimeError: the page is gone")]


def small(folder: Path) -> Pipeline:
    (folder / "data.csv").write_text("age,clicked\n" + "".join(f"{k % 70},{int(k % 9 < 3)}\n" for k in range(600)))
    steps = (Hash(bits=8),)
    train = Train(until=epochs(3), workers=1)
    return Pipeline(
        name="small", data=cirrus.csv(str(folder / "data.csv"), label="clicked"),
        stages=(Prepare(steps=steps, test=0.2, seed=1, workers=1), train),
    )  # fmt: skip


async def test_a_run_its_result_and_its_model_show_themselves(tmp_path: Path) -> None:
    async with cirrus.start(small(tmp_path), on=cirrus.local(tmp_path / "store")) as run:
        assert f"{run.run_id}" in words(run._repr_html_()) or "run: running" in words(run._repr_html_())
        result = await run.result()
        shown = run._repr_html_()
    assert f"{run.run_id}: done" in words(shown)
    assert sum(isinstance(one, LossReported) for one in result.history) == sum(curves(shown))
    assert f"train | log loss | {result.metrics['train']['log_loss']:.5g}" in words(result._repr_html_())
    assert "weights | 257 x 1" in words(result.model._repr_html_())


def test_where_there_is_no_notebook_nothing_is_looked_for(tmp_path: Path) -> None:
    script = f"""
import sys, cirrus
from pathlib import Path
from tests.api.test_notebook import small
cirrus.run_sync(small(Path({str(tmp_path)!r})), on=cirrus.local({str(tmp_path / "store")!r}))
assert not [name for name in sys.modules if name.partition(".")[0] in ("IPython", "ipykernel", "mlflow", "tensorboard")]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
