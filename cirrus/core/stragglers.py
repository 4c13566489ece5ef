"""When a unit has been held for so much longer than its peers that somebody idle had better do it.

A unit that is relieved goes out under a higher lease. Whoever finishes first wins: in training that is the later one,
which goes on at the step that the slow one has reached, since from then on the shards refuse the slow one's pushes.
"""

from __future__ import annotations

from collections import deque

RECENT = 16
"""Finished units of which it is remembered how long they were held."""

ENOUGH = 5
"""So many of them tell how long a unit takes."""

SLOW = 4.0
"""How many times as long as the median a unit is left to a worker."""

LEAST = 1.0
"""Seconds for which it is left to it in any case: machines pause now and then."""

SHARE = 10
"""Of so many finished units one may have been relieved, so that not much is done twice."""


class Pace:
    """Since when each unit is held, and how long units take. All times are in seconds."""

    def __init__(self) -> None:
        self.reliefs = 0
        self._since: dict[int, float] = {}  # the one that is held longest first
        self._lasted: deque[float] = deque(maxlen=RECENT)

    @property
    def patience(self) -> float | None:
        """How long a unit is left to one worker while another is idle; ``None``: not known yet."""
        if len(self._lasted) < ENOUGH:
            return None
        middle = sorted(self._lasted)[len(self._lasted) // 2]  # importing ``statistics`` would take each process 30 ms
        return max(LEAST, SLOW * middle)

    def granted(self, at: float, unit: int) -> None:
        """A worker holds the unit from now on."""
        self._since.pop(unit, None)
        self._since[unit] = at

    def finished(self, at: float, unit: int) -> None:
        """The unit is finished."""
        self._lasted.append(at - self._since.pop(unit))

    def dropped(self, unit: int) -> None:
        """Nobody holds the unit any more, which says nothing of how long it takes."""
        self._since.pop(unit, None)

    def due(self, done: int) -> tuple[float, int] | None:
        """The unit that is held longest, and when somebody idle may take it over, after ``done`` finished units."""
        patience = self.patience
        if patience is None or self.reliefs * SHARE > done:
            return None
        for unit, since in self._since.items():
            return since + patience, unit
        return None
