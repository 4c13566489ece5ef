"""Events that wait for a sink: at most so many, and the least of them are given up first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from itertools import islice

from cirrus.actors.bus import curve
from cirrus.events import (
    Event,
    LossReported,
    RowsPrepared,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
    TrialFinished,
    TrialStarted,
)

MOST = 8192

KEPT = (
    LossReported | RowsPrepared | RunFinished | RunStarted | StageFinished | StageStarted | TrialFinished | TrialStarted
)
"""What is told from, once curves are thinned out: beginnings, ends, results."""


class Waiting:
    """A queue of events, in order. ``dropped`` counts those that were given up for want of room.

    When more than ``most`` wait, every second point of each curve is dropped, but never the newest; where that makes
    no room, the oldest event that is neither a beginning nor an end nor a result; at last, the oldest of all.
    """

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0
        self._most = most
        self._number = 0
        self._events: OrderedDict[int, Event] = OrderedDict()

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """Let an event wait."""
        self._events[self._number] = event
        self._number += 1
        if len(self._events) > self._most:
            self._drop(self._superseded() or self._least())

    def take(self, most: int) -> list[Event]:
        """The oldest, up to so many, which wait no more."""
        return [self._events.popitem(last=False)[1] for _ in range(min(most, len(self._events)))]

    def give_up(self) -> None:
        """Drop all that waits."""
        self._drop(tuple(self._events))

    def _superseded(self) -> list[int]:
        """Every second point of each curve, counted from the newest, which is not among them."""
        found: list[int] = []
        odd: dict[tuple[type, str, int | None], bool] = {}
        for number, event in reversed(self._events.items()):
            key = curve(event)
            if key is not None:
                if odd.get(key, False):
                    found.append(number)
                odd[key] = not odd.get(key, False)
        return found

    def _least(self) -> list[int]:
        others = (number for number, event in self._events.items() if not isinstance(event, KEPT))
        return list(islice(others, 1)) or [next(iter(self._events))]

    def _drop(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            del self._events[number]
            self.dropped += 1
