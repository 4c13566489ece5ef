"""The page of a long run: neither it nor what it is sent grows with the points that there were."""

from __future__ import annotations

from pathlib import Path

from cirrus.page.series import MOST
from cirrus.page.serving import served
from tests.page.browser import Visitor, chromium, in_browser, on_asyncio
from tests.page.scripted import Endless, Scripted
from tests.page.viewer import Message, Viewer

pytestmark = [in_browser, on_asyncio]

LINES = 5
FULL = LINES * MOST
"""Points from which on none is added but another goes."""

GROWTH = 4.0
"""MB by which a page may differ; points that were kept would take more than twice that."""

NODES = 500
NEWEST = "(last) => Math.max(...(document.getElementById('loss').data ?? []).map((line) => line.x.at(-1))) === last"


async def size_at(visitor: Visitor, endless: Endless, points: int) -> tuple[float, int]:
    """What the page takes once it shows so many points, or what is left of them."""
    await endless.reach(points)
    await visitor.until(NEWEST, endless.last)
    return await visitor.size()


async def test_a_page_with_ten_times_the_points_takes_as_much_memory(tmp_path: Path) -> None:
    run, viewer = Scripted(), Viewer()
    endless = Endless(run, LINES)
    longest: list[int] = []

    def take(_second: float, message: Message) -> None:
        viewer.hear(message)
        longest.append(max(map(len, viewer.series.values()), default=0))

    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.overheard(take)
        await visitor.page.goto(site.address())
        before, nodes = await size_at(visitor, endless, FULL)
        after, more = await size_at(visitor, endless, 10 * FULL)
        assert FULL // 2 <= await visitor.points() <= FULL
    assert after < before + GROWTH
    assert more < nodes + NODES
    assert 0 < max(longest) <= MOST
    assert len(viewer.series) == LINES
