"""Sinks that are slow, broken or gone: the bus never waits, nothing is lost silently, and the end comes."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from cirrus.actors.bus import EventBus
from cirrus.actors.kernel import Kernel
from cirrus.clock import SystemClock
from cirrus.core.views import SinkView
from cirrus.events import Event, TrialStarted
from cirrus.sinks import outlets as closing
from cirrus.sinks import written
from cirrus.sinks.base import Outlet
from cirrus.sinks.outlets import outlets
from cirrus.sinks.written import Written
from tests.api.household import Household
from tests.sinks.told import tuned

SAID = tuned()
SAYABLE = [event for event in SAID if not (isinstance(event, TrialStarted) and event.trial == 1)]


@dataclass
class Shelf:
    """A sink that calls ``trouble`` before each write, keeps what got through, and cannot say one of the events."""

    trouble: Callable[[], object] = bool
    name: str = "shelf"
    kept: list[Event] = field(default_factory=list)
    taken: list[Event] = field(default_factory=list)
    closed: int = 0

    def outlet(self, kernel: Kernel) -> Outlet:
        return Written(kernel, self.name, lambda: self)

    def take(self, event: Event) -> None:
        if event not in SAYABLE:
            raise ValueError("not that one")
        self.taken.append(event)

    def flush(self) -> None:
        self.trouble()
        self.kept += self.taken
        self.taken.clear()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(written, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(closing, "FLUSH", 0.3)


async def tell(*sinks: Shelf, after: Callable[[], object] = bool) -> tuple[SinkView, ...]:
    """Say everything to the sinks, and close them once ``after`` has returned."""
    bus = EventBus()
    async with Kernel(SystemClock()) as kernel:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            async with outlets(bus, sinks, SystemClock()) as opened:
                for event in SAID:
                    bus.publish(event)
                await kernel.blocking(after)
    return opened.views


async def test_everything_arrives_in_order_but_what_cannot_be_said() -> None:
    shelf, before = Shelf(), await Household.warm()
    assert await tell(shelf) == (SinkView("shelf", 1, "not that one"),)
    assert shelf.kept == SAYABLE
    assert shelf.closed == 1
    assert before.changes() == []


async def test_what_failed_arrives_once_the_sink_is_back() -> None:
    failures, tried, before = iter(range(3)), threading.Event(), await Household.warm()

    def fail() -> None:
        if next(failures, None) is not None:
            raise OSError("no route to host")
        tried.set()

    shelf = Shelf(fail)
    (view,) = await tell(shelf, after=tried.wait)
    assert shelf.kept == SAYABLE
    assert view == SinkView("shelf", 1, "OSError: no route to host")
    assert before.changes() == []


async def test_a_sink_that_stays_down_has_one_last_try_and_all_is_counted() -> None:
    before = await Household.warm()

    def fail() -> None:
        raise OSError("no route to host")

    down, beside = Shelf(fail), Shelf(name="beside")
    views = await tell(down, beside)
    assert down.kept == []
    assert beside.kept == SAYABLE
    assert views[0].dropped >= len(SAID)
    assert views[0].problem == "OSError: no route to host"
    assert views[1].dropped == 1
    assert before.changes() == []


async def test_a_sink_that_hangs_is_left_behind() -> None:
    released, before = threading.Event(), await Household.warm()
    stuck, beside = Shelf(released.wait, name="stuck"), Shelf(name="beside")
    views = await tell(stuck, beside)
    assert views[0].dropped >= len(SAID)
    assert beside.kept == SAYABLE
    left = [one for one in threading.enumerate() if one.name == "cirrus-stuck"]
    assert [one.daemon for one in left] == [True]
    released.set()
    left[0].join()
    assert before.changes() == []


async def test_the_end_of_a_run_tells_what_did_not_arrive() -> None:
    async def said() -> None:
        bus = EventBus()
        async with outlets(bus, (Shelf(),), SystemClock()):
            for event in SAID:
                bus.publish(event)

    with pytest.warns(RuntimeWarning, match="1 events did not reach shelf: not that one"):
        await said()


async def test_where_warnings_are_errors_the_run_ends_as_it_would() -> None:
    bus = EventBus()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with outlets(bus, (Shelf(),), SystemClock()) as opened:
            for event in SAID:
                bus.publish(event)
    assert opened.views[0].dropped == 1
