"""What a long run's page takes in a real browser, and in the process that serves it: memory, and the time to open it.

    python -m benchmarks.page

A hundred trials whose losses are measured ten million times in all, as fast as the page takes them in, followed by a
viewer in Chromium. What it is sent is counted as it arrives there.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import psutil

from benchmarks.setting import setting, write
from cirrus.page.serving import served
from tests.page.browser import Visitor, chromium
from tests.page.scripted import Endless, Scripted
from tests.page.viewer import Message, Viewer

LINES = 100
POINTS = (10**5, 10**6, 10**7)
OPENED = 5
NEWEST = "(last) => Math.max(...(document.getElementById('loss').data ?? []).map((line) => line.x.at(-1))) === last"
DRAWN = "(lines) => document.getElementById('loss').data?.length === lines"
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass(frozen=True, slots=True)
class Taken:
    """After so many points: MB of the page's objects, of its process and of the server's, and the nodes on the page."""

    points: int
    page_mb: float
    browser_mb: int
    server_mb: int
    nodes: int


def resident(kind: str) -> int:
    """MB of the largest process of Chromium of that kind."""
    mine = psutil.Process().children(recursive=True)
    sizes = [one.memory_info().rss for one in mine if f"--type={kind}" in one.cmdline()]
    return max(sizes) >> 20


async def taken(visitor: Visitor, endless: Endless, points: int) -> Taken:
    """Say points until there were so many, and measure when the page shows the last."""
    await endless.reach(points)
    await visitor.page.wait_for_function(NEWEST, arg=endless.last, timeout=0)
    size, nodes = await visitor.size()
    server = psutil.Process().memory_info().rss >> 20
    return Taken(points, round(size, 1), resident("renderer"), server, nodes)


async def opened(visitor: Visitor, url: str) -> tuple[float, float]:
    """Open the page in another tab: milliseconds until something is painted, and until all curves are drawn."""
    page = await visitor.page.context.new_page()
    await page.goto(url)
    await page.wait_for_function(DRAWN, arg=LINES)
    drawn = float(await page.evaluate("() => performance.now()"))
    painted = float(await page.evaluate(PAINTED))
    await page.close()
    return painted, drawn


class Told:
    """What the page was sent: when it was told something, and the most points that one series ever had."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.most = 0
        self._viewer = Viewer()

    def take(self, second: float, message: Message) -> None:
        """Take in a message that came in that second."""
        self._viewer.hear(message)
        self.seconds.append(second)
        self.most = max(self.most, *map(len, self._viewer.series.values()), 0)

    @property
    def pace(self) -> float:
        """Messages a second."""
        return (len(self.seconds) - 1) / (self.seconds[-1] - self.seconds[0])


async def main() -> None:
    """Follow, open, print and write."""
    begun = setting()
    run, told = Scripted(), Told()
    endless = Endless(run, LINES)
    with tempfile.TemporaryDirectory() as folder:
        async with served(run) as site, chromium(Path(folder)) as visitor:
            await visitor.overheard(told.take)
            await visitor.page.goto(site.address())
            sizes = []
            for points in POINTS:
                sizes.append(await taken(visitor, endless, points))
                print(sizes[-1], flush=True)
            times = [await opened(visitor, site.url) for _ in range(OPENED)]
    painted, drawn = (round(median(column)) for column in zip(*times, strict=True))
    found = {"most": told.most, "pace": round(told.pace, 2), "painted_ms": painted, "drawn_ms": drawn}
    print(found)
    write("page", begun, {"lines": LINES, **found, "sizes": [asdict(one) for one in sizes]})


if __name__ == "__main__":
    asyncio.run(main())
