"""What viewers are told: each point once, whatever is cut, and bounded however long a run is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus import events
from cirrus.page import feed as feeds
from cirrus.page import series
from cirrus.page.feed import Feed
from cirrus.page.series import ALTOGETHER, LEAST, MOST, Chart
from tests.page.scripted import Scripted, loss, resources, trial_over, tuning
from tests.page.viewer import Viewer, messages

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("loss"), st.integers(0, 2)),
        st.tuples(st.just("publish"), st.just(0)),
        st.tuples(st.just("read"), st.integers(0, 100)),
        st.tuples(st.just("note"), st.integers(0, 2)),
    ),
    max_size=120,
)


def play(feed: Feed, steps: list[tuple[str, int]], viewer: Viewer) -> dict[int, list[float]]:
    """Do the steps: a read is cut after that part in a hundred of its bytes. What was measured, by trial."""
    said: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for number, (what, how) in enumerate(steps, start=1):
        match what:
            case "loss":
                said[how].append(float(number))
                feed.take(loss(float(number), 1.0 / number, how))
            case "note":
                feed.take(events.WorkerStarted(at=float(number), stage="tune", slot=how, attempt=1, pid=1))
            case "publish":
                feed.publish()
            case _:
                data, _ = feed.since(viewer.last)
                viewer.take(data[: len(data) * how // 100])
    feed.publish()
    viewer.take(feed.since(viewer.last)[0])
    return said


@given(STEPS)
def test_a_viewer_that_is_cut_at_any_byte_sees_each_point_and_line_once(steps: list[tuple[str, int]]) -> None:
    viewer = Viewer()
    said = play(Feed("here", "run"), steps, viewer)
    for trial, times in said.items():
        assert [row[0] for row in viewer.series.get(f"loss/tune/{trial}", [])] == times
    assert viewer.log == list(range(1, 1 + sum(what == "note" for what, _ in steps)))


@given(STEPS, st.integers(2, 9), st.integers(1, 4))
def test_it_sees_what_the_server_has_where_points_are_forgotten(
    steps: list[tuple[str, int]], most: int, kept: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(series, "MOST", most)
        patch.setattr(feeds, "KEPT", kept)
        feed, viewer, late = Feed("here", "run"), Viewer(), Viewer()
        said = play(feed, steps, viewer)
        late.take(feed.since("")[0])
    assert viewer.series == late.series
    for trial, times in said.items():
        shown = [row[0] or 0.0 for row in viewer.series.get(f"loss/tune/{trial}", [])]
        assert len(shown) <= most
        assert shown[-1:] == times[-1:], "the newest is there"
        assert shown == sorted(set(shown))


@given(STEPS)
def test_ids_rise_by_one(steps: list[tuple[str, int]]) -> None:
    feed, viewer = Feed("here", "run"), Viewer(last="here-0")
    seen = list[str]()
    for what, how in steps:
        if what == "loss":
            feed.take(loss(1.0, 0.5, how))
        feed.publish()
        data, viewer.last = feed.since(viewer.last)
        seen += [one.id for one in messages(data)]
    assert seen == [f"here-{number}" for number in range(1, len(seen) + 1)]


@pytest.mark.parametrize("last", ["", "here-", "here-9", "here--1", "there-1", "here-1x", "here-\u0661", "x" * 5000])
def test_who_comes_with_an_id_that_is_none_gets_the_whole_state(last: str) -> None:
    feed = Feed("here", "run")
    feed.take(loss(1.0, 0.5, 0))
    feed.publish()
    assert [one.kind for one in messages(feed.since(last)[0])] == ["whole"]


def test_who_comes_too_late_gets_the_whole_state_and_who_is_near_what_it_missed() -> None:
    feed = Feed("here", "run")
    for number in range(feeds.KEPT + 10):
        feed.take(loss(float(number), 0.5, 0))
        feed.publish()
    assert [one.kind for one in messages(feed.since("here-9")[0])] == ["whole"]
    assert [one.kind for one in messages(feed.since("here-10")[0])] == ["update"] * feeds.KEPT
    assert feed.since(f"here-{feeds.KEPT + 10}")[0] == b""


def test_all_viewers_share_the_bytes_of_a_whole_state() -> None:
    feed = Feed("here", "run")
    feed.take(loss(1.0, 0.5, 0))
    feed.publish()
    assert feed.since("")[0] is feed.since("elsewhere-3")[0]


def test_a_series_stays_bounded_and_keeps_its_newest() -> None:
    """Ten million points would be kept in as much: a series is halved whenever it is full, and never grows beyond."""
    chart = Chart()
    for number in range(50 * MOST):
        chart.take("one", float(number))
        if number % 997 == 0:
            chart.news()
        assert len(chart.told["one"]) <= MOST
    assert chart.told["one"][-1] == (float(50 * MOST - 1),) or chart.news()
    assert len(chart.told["one"]) > MOST // 2 - 2


def test_many_series_share_what_there_is() -> None:
    chart = Chart()
    lines = 500
    for number in range(400):
        for line in range(lines):
            chart.take(str(line), float(number))
    chart.news()
    kept = [len(rows) for rows in chart.told.values()]
    assert max(kept) <= max(LEAST, ALTOGETHER // lines)
    assert sum(kept) <= ALTOGETHER


def test_messages_that_are_kept_are_bounded_in_bytes() -> None:
    feed = Feed("here", "run")
    for number in range(300):
        for line in range(300):
            feed.take(loss(float(number), 0.1234567891234, line))
        feed.publish()
    missed = feed.since("here-299")[0]
    assert len(missed) > feeds.KEPT_BYTES / 300
    assert [one.kind for one in messages(feed.since("here-60")[0])] == ["whole"]


def test_what_is_no_number_is_told_as_nothing() -> None:
    feed, viewer = Feed("here", "run"), Viewer()
    feed.take(events.TrialStarted(at=0.0, stage="tune", trial=0, settings={"rate": float("inf")}))
    feed.take(loss(1.0, float("nan"), 0))
    feed.publish()
    viewer.take(feed.since("")[0])
    assert viewer.series["loss/tune/0"][0][3] is None
    assert viewer.trials["tune/0"]["settings"] == {"rate": None}
    assert viewer.trials["tune/0"]["loss"] is None


def test_a_line_that_is_killed_is_stopping_until_its_workers_have_gone() -> None:
    run, feed, viewer = Scripted(), Feed("here", "run"), Viewer()
    tuning(run, trials=3, seconds=5)
    for event in run.bus.history:
        feed.take(event)

    def row() -> tuple[str, bool, int]:
        feed.publish()
        viewer.take(feed.since(viewer.last)[0])
        trial = viewer.trials["tune/1"]
        return trial["state"], trial["stopping"], trial["workers"]

    assert row() == ("running", False, 1)
    feed.sight.ordered(1)
    assert row() == ("running", True, 1)
    feed.take(trial_over(50.0, 1, "killed", "by order"))
    assert row() == ("killed", False, 1)
    feed.take(events.WorkerStopped(at=51.0, stage="tune.trial1", slot=0, attempt=1, reason="told to leave"))
    assert row() == ("killed", False, 0)


def test_an_order_that_is_refused_is_taken_back() -> None:
    feed, viewer = Feed("here", "run"), Viewer()
    for trial in (None, 0):
        feed.take(events.TrialStarted(at=0.0, stage="tune", trial=0, settings={}))
        feed.sight.ordered(trial)
        feed.sight.refused(trial)
    feed.publish()
    viewer.take(feed.since("")[0])
    assert viewer.state["run"]["stopping"] is False
    assert viewer.trials["tune/0"]["stopping"] is False


def test_time_goes_on_under_another_driver() -> None:
    feed, viewer = Feed("here", "run"), Viewer()
    feed.take(events.RunStarted(at=0.0, run_id="run", store="s"))
    feed.take(loss(100.0, 0.5, None, "train"))
    feed.take(events.RunFinished(at=100.5, outcome="parked", reason="gone", dollars=1.0))
    feed.take(events.RunStarted(at=0.0, run_id="run", store="s", epoch=2))
    feed.take(loss(1.0, 0.4, None, "train"))
    feed.publish()
    viewer.take(feed.since("")[0])
    assert [row[0] for row in viewer.series["loss/train"]] == [100.0, 101.5]
    assert viewer.state["run"]["state"] == "running"


def test_the_end_leaves_nobody_at_work() -> None:
    run, feed, viewer = Scripted(), Feed("here", "run"), Viewer()
    tuning(run, trials=3, seconds=5)
    run.say(events.RunFinished(at=60.0, outcome="killed", reason="enough", dollars=0.01))
    for event in run.bus.history:
        feed.take(event)
    feed.publish()
    viewer.take(feed.since("")[0])
    assert viewer.state["run"]["state"] == "killed"
    assert viewer.state["use"]["working"] == 0
    assert [stage["working"] for stage in viewer.state["stages"]] == [0, 0]
    assert {trial["workers"] for trial in viewer.trials.values()} == {0}
    assert {trial["state"] for trial in viewer.trials.values()} == {"stopped", "pruned"}


def test_a_long_message_stays_in_one_line_of_the_stream() -> None:
    feed = Feed("here", "run")
    nasty = "two\nlines\r\n\ndata: forged\u2028" + "x" * 5000
    feed.take(events.WorkerReplaced(at=1.0, stage="tune", slot=0, attempt=2, reason=nasty))
    feed.take(resources(1.0, {"tune": 1}, {"tune": 1}))
    feed.publish()
    (message,) = messages(feed.since("")[0])
    assert json.loads(message.data)["log"][0]["text"].count("\n") == 3
    assert len(message.data) < 2500
