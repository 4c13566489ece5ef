"""The page in each of its states, in a real browser; what it shows, and that everybody can use it."""

from __future__ import annotations

from pathlib import Path

from cirrus import events
from cirrus.page.serving import served
from tests.page.browser import chromium, in_browser, on_asyncio
from tests.page.scripted import EVIL, Scripted, loss, resources, trial_over, tuning

pytestmark = [in_browser, on_asyncio]

LAST = "(last) => Math.max(...document.getElementById('loss').data.flatMap((line) => [...line.x])) === last"
WORST = (2, 6, 7, 8, 11)
"""Of those that have been measured, when trials 9 and 10 have become the best."""


async def test_who_has_no_key_is_asked_for_it(tmp_path: Path) -> None:
    run = Scripted()
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.url)
        await visitor.views("login")
        await visitor.picture("login")
        assert run.run_id not in await visitor.page.content()
        await visitor.page.fill("#code", "a guess")
        await visitor.page.keyboard.press("Enter")
        await visitor.shows("#login-text", "works once")
        await visitor.page.fill("#code", site.address())
        await visitor.page.keyboard.press("Enter")
        await visitor.views("live")
        await visitor.picture("empty")


async def test_a_search_in_light_in_dark_and_on_a_phone(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with served(run) as site, chromium(tmp_path) as visitor:
        address = site.address()
        await visitor.page.goto(address)
        await visitor.lines(11)
        assert visitor.page.url == site.url, "the key is not in the address any more"
        assert not [url for url in visitor.asked if "#" not in url and address.rpartition("#")[2] in url]
        assert not any(visitor.referers)
        assert all(url.startswith((site.url, "data:")) for url in visitor.asked), "nothing comes from elsewhere"
        await visitor.picture("tuning")
        assert "8 of 8 workers" in await visitor.text("[data-stage=tune]")
        assert await visitor.text("#trials-sum") == "8 running · 4 pruned"
        assert await visitor.text("#f-loss-of") == "trial 0 of tune"
        await visitor.page.emulate_media(color_scheme="dark")
        await visitor.picture("tuning-dark")
        await visitor.page.set_viewport_size({"width": 390, "height": 844})
        await visitor.until("() => document.documentElement.scrollWidth <= innerWidth")
        await visitor.picture("tuning-phone")
        for theme in ("Light", "Dark", "Auto"):
            await visitor.page.click("#theme")
            assert await visitor.text("#theme") == theme


async def test_best_and_worst_five_change_and_rows_are_sorted(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.address())
        await visitor.lines(11)
        await visitor.page.check("[name=show][value=best]", force=True)
        await visitor.lines(5)
        assert set(await visitor.curves()) == {f"tune/{trial}" for trial in (0, 1, 3, 4, 6)}
        run.say(*(loss(50.0, 0.3, trial) for trial in (9, 10)))
        await visitor.until("() => document.getElementById('loss').data[0].customdata[0] === 'tune/9'")
        assert set(await visitor.curves()) == {f"tune/{trial}" for trial in (9, 10, 0, 1, 3)}
        await visitor.page.check("[name=show][value=worst]", force=True)
        await visitor.until("() => document.getElementById('loss').data[0].customdata[0] !== 'tune/9'")
        assert set(await visitor.curves()) == {f"tune/{trial}" for trial in WORST}
        for value, unit in (("1", 50_000.0), ("2", 0.0005), ("0", 50.0)):
            await visitor.page.check("[name=show][value=all]", force=True)
            await visitor.page.check(f"[name=axis][value='{value}']", force=True)
            await visitor.until(LAST, unit)
        order = "() => [...document.querySelectorAll('#trials tbody tr')].map((row) => +row.dataset.key.split('/')[1])"
        assert (await visitor.page.evaluate(order))[:2] == [9, 10]
        await visitor.page.click("[data-by=trial]")
        assert await visitor.page.evaluate(order) == list(range(12))
        await visitor.page.click("[data-by=trial]")
        assert await visitor.page.evaluate(order) == list(range(11, -1, -1))
        await visitor.page.click("[data-by='set:model.l2']")
        assert await visitor.page.get_attribute("th[aria-sort=ascending] button", "data-by") == "set:model.l2"


async def test_a_name_that_means_harm_is_shown_as_it_is(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    run.say(
        trial_over(50.0, 3, "pruned", EVIL),
        events.InvokeFailed(at=50.0, stage="tune.trial7", slot=0, attempt=3, reason=EVIL),
        events.StageStarted(at=50.0, stage=EVIL, workers=1),
        loss(51.0, 0.6, None, EVIL),
        resources(51.0, {EVIL: 1}, {EVIL: 1}),
    )
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.address())
        await visitor.lines(12)
        await visitor.page.click("tr[data-key='tune/7'] button")
        assert EVIL in await visitor.text("#panel-settings")
        assert EVIL in await visitor.text("#panel-log")
        await visitor.page.keyboard.press("Escape")
        await visitor.page.hover("#workers .draglayer")
        assert EVIL in await visitor.text("#log")
        assert await visitor.page.locator("img").count() == 0
        assert "broken in" not in await visitor.page.title()
        await visitor.picture("harm")


async def test_a_line_is_killed_by_keyboard_and_said_to_stop_until_it_has(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.address())
        await visitor.page.locator("tr[data-key='tune/3'] button").focus()
        await visitor.page.keyboard.press("Enter")
        await visitor.until("() => document.activeElement.id === 'panel-title'")
        assert "optimizer.rate0.04913" in await visitor.text("#panel-settings")
        await visitor.picture("panel")
        await visitor.page.locator("#panel-kill").focus()
        await visitor.page.keyboard.press("Enter")
        await visitor.until("() => document.activeElement.id === 'ask-no'")
        await visitor.picture("ask")
        await visitor.page.keyboard.press("Escape")
        assert run.orders == []
        await visitor.page.locator("#panel-kill").focus()
        await visitor.page.keyboard.press("Enter")
        await visitor.page.keyboard.press("Tab")
        await visitor.page.keyboard.press("Enter")
        await visitor.shows("#panel-state", "stopping, 1 still working")
        assert run.orders == [("kill", None, 3)]
        await visitor.picture("stopping")
        run.say(events.WorkerStopped(at=61.0, stage="tune.trial3", slot=0, attempt=1, reason="told to leave"))
        await visitor.shows("#panel-state", "killed: from the page")
        await visitor.page.keyboard.press("Escape")
        await visitor.until("() => document.activeElement.closest('tr')?.dataset.key === 'tune/3'")


PLACE = """(key) => {
    const chart = document.getElementById('loss');
    chart.scrollIntoView();
    const {xaxis, yaxis} = chart._fullLayout, box = chart.getBoundingClientRect();
    const line = chart.data.find((one) => one.customdata[0] === key);
    return [box.x + xaxis._offset + xaxis.l2p(line.x.at(-1)), box.y + yaxis._offset + yaxis.l2p(line.y.at(-1))];
}"""
"""Where the newest point of a line is on the screen."""


async def test_a_curve_is_clicked_and_its_settings_show(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.address())
        await visitor.lines(11)
        for trial, rate in ((0, "optimizer.rate0.01"), (10, "optimizer.rate2.016")):
            x, y = await visitor.page.evaluate(PLACE, f"tune/{trial}")
            await visitor.page.mouse.move(x - 1, y)
            await visitor.page.locator("#loss .hoverlayer .hovertext").wait_for()
            await visitor.page.mouse.click(x, y)
            await visitor.shows("#panel-title", f"Trial {trial} of tune")
            assert rate in await visitor.text("#panel-settings")
            await visitor.page.keyboard.press("Escape")


async def test_the_connection_is_lost_and_a_server_that_is_another_asks_for_the_key(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with chromium(tmp_path) as visitor:
        async with served(run) as site:
            port = int(site.url.rsplit(":", 1)[1].strip("/"))
            await visitor.page.goto(site.address())
            await visitor.lines(11)
        await visitor.views("lost")
        await visitor.picture("lost")
        async with served(run, port):
            await visitor.views("login")
        visitor.trouble = [one for one in visitor.trouble if "ERR_" not in one]


async def test_the_end_is_told_and_nothing_can_be_ordered_any_more(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    run.say(events.RunFinished(at=70.0, outcome="done", reason="", dollars=0.03))
    run.bus.close()
    async with chromium(tmp_path) as visitor:
        async with served(run) as site:
            await visitor.page.goto(site.address())
            await visitor.views("ended")
            await visitor.lines(11)
            await visitor.picture("ended")
            assert await visitor.page.is_disabled("#kill-all")
            assert await visitor.text("#state") == "done"
        await visitor.shows("#banner", "--dashboard opens it again")
        visitor.trouble = [one for one in visitor.trouble if "ERR_" not in one]


async def test_the_first_paint_does_not_wait_for_the_curves(tmp_path: Path) -> None:
    run = Scripted()
    tuning(run)
    async with served(run) as site, chromium(tmp_path) as visitor:
        await visitor.page.goto(site.address())
        await visitor.until("() => performance.getEntriesByName('first-contentful-paint').length")
        script = """() => ({
            paint: performance.getEntriesByName('first-contentful-paint')[0].startTime,
            plotly: performance.getEntriesByType('resource').find((one) => one.name.endsWith('.min.js')).responseEnd,
        })"""
        await visitor.until("() => window.Plotly")
        times = await visitor.page.evaluate(script)
        print(f"first paint after {times['paint']:.0f} ms, Plotly there after {times['plotly']:.0f} ms")
        assert await visitor.page.get_attribute("#plotly", "async") is not None
