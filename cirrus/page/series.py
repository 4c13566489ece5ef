"""Points of the page's curves, in bounded memory, and which of them viewers have not been told yet."""

from __future__ import annotations

Value = float | None
Row = tuple[Value, ...]

MOST = 2000
"""Points of one series; when there are more, every second one is forgotten, never the newest."""

ALTOGETHER = 60_000
"""Points of all series, once there are so many series that each has to do with fewer."""

LEAST = 16
"""Points that each series may have however many series there are."""


class Series:
    """The points of one curve in the order of their coming."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._untold = 0
        self._thinned = False

    def take(self, row: Row, most: int) -> None:
        """Add a point, and forget every second one where there are more than ``most``."""
        self.rows.append(row)
        self._untold += 1
        if len(self.rows) > most:
            self.rows[:] = self.rows[::-1][::2][::-1]
            self._thinned = True

    @property
    def told(self) -> list[Row]:
        """What viewers have who know all that was said; where points were forgotten since, all of them come next."""
        return self.rows if self._thinned else self.rows[: len(self.rows) - self._untold]

    def news(self) -> tuple[str, list[Row]] | None:
        """``add`` and the new points, or ``set`` and all of them; from now on they are told. ``None``: nothing new."""
        if not self._untold:
            return None
        news = ("set", list(self.rows)) if self._thinned else ("add", self.rows[-self._untold :])
        self._untold, self._thinned = 0, False
        return news


class Chart:
    """All series of a run by key, such as ``loss/tune/3``."""

    def __init__(self) -> None:
        self._series: dict[str, Series] = {}
        self._touched: set[str] = set()

    def take(self, key: str, *row: Value) -> None:
        """Add a point to the series of that key."""
        series = self._series.setdefault(key, Series())
        series.take(row, min(MOST, max(LEAST, ALTOGETHER // len(self._series))))
        self._touched.add(key)

    @property
    def told(self) -> dict[str, list[Row]]:
        """What viewers have who know all that was said."""
        return {key: series.told for key, series in self._series.items()}

    def news(self) -> dict[str, dict[str, list[Row]]]:
        """What viewers do not know yet: points to ``add`` to series, and series to ``set`` anew."""
        found: dict[str, dict[str, list[Row]]] = {}
        for key in sorted(self._touched):
            news = self._series[key].news()
            if news is not None:
                found.setdefault(news[0], {})[key] = news[1]
        self._touched.clear()
        return found
