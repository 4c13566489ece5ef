"""A real Chromium for the page's tests, and pictures of the page for people to look at.

Pictures go to the folder that ``CIRRUS_SCREENSHOTS`` names, or to one of the test's own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from tests.page.viewer import Message

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run"]  # fmt: skip

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")
on_asyncio = pytest.mark.asyncio(loop_factories=["asyncio"])

IGNORED = ("401", "Applying inline style")
"""What the console may say: that there was no session yet, and that Plotly's style for maps was refused."""


@dataclass
class Visitor:
    """A page in the browser. ``asked`` is every URL that was asked for, ``trouble`` what went wrong."""

    page: Page
    pictures: Path
    asked: list[str] = field(default_factory=list)
    referers: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)

    async def picture(self, name: str) -> None:
        """Take a picture of the whole page, and see that no rule of accessibility is broken in it."""
        self.pictures.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=self.pictures / f"{name}.png", full_page=True, animations="disabled")
        found = await Axe().run(self.page)
        broken = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found.response["violations"]]
        assert broken == [], name

    async def until(self, script: str, argument: Any = None) -> None:
        """Wait until the script's value is true."""
        await self.page.wait_for_function(script, arg=argument, timeout=30_000)

    async def shows(self, selector: str, words: str) -> None:
        """Wait until an element's text has those words."""
        script = "([selector, words]) => document.querySelector(selector)?.textContent.includes(words)"
        await self.until(script, [selector, words])

    async def views(self, name: str) -> None:
        """Wait until the page is in that state: login, connecting, live, lost or ended."""
        await self.until("(name) => document.body.dataset.view === name", name)

    async def lines(self, count: int) -> None:
        """Wait until the chart of losses has so many lines."""
        await self.until("(count) => document.getElementById('loss').data?.length === count", count)

    async def text(self, selector: str) -> str:
        return (await self.page.locator(selector).text_content()) or ""

    async def points(self, chart: str = "loss") -> int:
        """How many points a chart shows."""
        script = "(id) => (document.getElementById(id).data ?? []).reduce((sum, line) => sum + line.x.length, 0)"
        return int(await self.page.evaluate(script, chart))

    async def curves(self) -> dict[str, list[float]]:
        """What the chart of losses shows, by line: the points' places."""
        script = "() => document.getElementById('loss').data.map((line) => [line.customdata[0], [...line.x]])"
        return dict(await self.page.evaluate(script))

    async def overheard(self, take: Callable[[float, Message], None]) -> None:
        """Hand over each message that the page is sent from now on, as it comes, with its second."""

        def hear(said: dict[str, Any]) -> None:
            if said["data"]:  # a beat has none
                take(said["timestamp"], Message(said["eventId"], said["eventName"], said["data"]))

        session = await self.page.context.new_cdp_session(self.page)
        session.on("Network.eventSourceMessageReceived", hear)
        await session.send("Network.enable")

    async def size(self) -> tuple[float, int]:
        """MB of the page's objects without garbage, and how many nodes its document has."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("Performance.enable")
        for _ in range(2):  # the first leaves what only it has set free
            await session.send("HeapProfiler.collectGarbage")
        measured = (await session.send("Performance.getMetrics"))["metrics"]
        await session.detach()
        found = {one["name"]: one["value"] for one in measured}
        return found["JSHeapUsedSize"] / 2**20, int(found["Nodes"])


@asynccontextmanager
async def chromium(tmp_path: Path, **context: Any) -> AsyncIterator[Visitor]:
    """A new browser with nothing in its jar; at the end nothing went wrong in it."""
    folder = os.environ.get("CIRRUS_SCREENSHOTS")
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            given = {"viewport": {"width": 1280, "height": 900}, **context}
            page = await (await browser.new_context(**given)).new_page()
            visitor = Visitor(page, Path(folder) if folder else tmp_path / "pictures")
            page.on("request", lambda request: visitor.asked.append(request.url))
            page.on("request", lambda request: visitor.referers.append(request.headers.get("referer", "")))
            page.on("pageerror", lambda error: visitor.trouble.append(str(error)))
            page.on("console", lambda said: visitor.trouble.append(said.text) if said.type == "error" else None)
            yield visitor
            trouble = [one for one in visitor.trouble if not any(word in one for word in IGNORED)]
            assert trouble == []
        finally:
            await browser.close()
