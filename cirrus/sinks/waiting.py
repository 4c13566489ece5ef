"""Events that wait for a sink: at most so many, and the least of them are given up first."""

from __future__ import annotations

from collections import OrderedDict

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


Lane = OrderedDict[int, Event]


class Waiting:
    """A queue of events, in order. ``dropped`` counts those that were given up for want of room.

    When more than ``most`` wait, every second point of each curve is dropped, but never the newest; where that makes
    no room, the oldest event that is neither a point, nor a beginning, an end or a result; then the oldest point; at
    last, the oldest of all. However full it is, an event costs microseconds: who puts it is the host's loop.
    """

    def __init__(self, most: int = MOST) -> None:
        self.dropped = 0
        self._most = most
        self._number = 0
        self._points: Lane = OrderedDict()
        self._others: Lane = OrderedDict()
        self._kept: Lane = OrderedDict()
        self._thin_from = 0  # fewer points than that were found to be of too many curves to be thinned out

    def __len__(self) -> int:
        return len(self._points) + len(self._others) + len(self._kept)

    def put(self, event: Event) -> None:
        """Let an event wait."""
        lane = self._points if curve(event) else self._kept if isinstance(event, KEPT) else self._others
        lane[self._number] = event
        self._number += 1
        if len(self) > self._most and not self._thin():
            next(filter(None, (self._others, self._points, self._kept))).popitem(last=False)
            self.dropped += 1

    def take(self, most: int) -> list[Event]:
        """The oldest, up to so many, which wait no more."""
        return [self._oldest().popitem(last=False)[1] for _ in range(min(most, len(self)))]

    def give_up(self) -> None:
        """Drop all that waits."""
        self.dropped += len(self.take(len(self)))

    def _oldest(self) -> Lane:
        return min(filter(None, (self._points, self._others, self._kept)), key=lambda lane: next(iter(lane)))

    def _thin(self) -> bool:
        """Drop every second point of each curve, counted from the newest; ``False`` where there is none to drop."""
        if len(self._points) < self._thin_from:
            return False
        found: list[int] = []
        odd: dict[tuple[type, str, int | None] | None, bool] = {}
        for number, event in reversed(self._points.items()):
            key = curve(event)
            if odd.get(key, False):
                found.append(number)
            odd[key] = not odd.get(key, False)
        for number in found:
            del self._points[number]
        self.dropped += len(found)
        self._thin_from = 2 * len(self._points) if 4 * len(found) < len(self._points) else 0
        return bool(found)
