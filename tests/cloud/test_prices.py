"""What AWS takes: the table that comes with cirrus, and a newer one from AWS's own list."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession
from hypothesis import given
from hypothesis import strategies as st

from cirrus.cli.main import parser
from cirrus.cli.pricing import prices
from cirrus.cloud.price_list import fetch_prices, members
from cirrus.cloud.prices import all_prices, function_price, read_prices, refreshed_file, shipped, write_prices
from cirrus.errors import OutsideError, PipelineError
from tests.cloud.price_lists import lists, publisher

FRANKFURT = "eu-central-1"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_the_table_has_what_was_looked_up() -> None:
    virginia = read_prices("us-east-1")
    assert (virginia.x86_64, virginia.arm64, virginia.request) == (1.66667e-5, 1.33334e-5, 2e-7)
    assert (virginia.put * 1000, virginia.get * 1000) == pytest.approx((0.005, 0.0004))
    assert virginia.host("m5.large") == 0.096
    assert all(1e-6 < one.arm64 < one.x86_64 < 1e-4 for one in shipped().values())
    assert all(one.get < one.put < 1e-4 and 0.01 < one.storage < 0.1 for one in shipped().values())
    assert all(one.dated.startswith("20") and "m5.large" in one.hosts for one in shipped().values())


def test_what_is_not_known_is_refused_and_what_is_known_is_named() -> None:
    with pytest.raises(PipelineError, match=r"region: got 'mars-1'; allowed: .*us-west-2.*cirrus prices --refresh"):
        read_prices("mars-1")
    with pytest.raises(PipelineError, match=r"architecture: got 'riscv'; allowed: 'x86_64', 'arm64'"):
        function_price("us-east-1", "riscv", read_prices("us-east-1"))  # type: ignore[arg-type]
    with pytest.raises(PipelineError, match=r"instance_type: got 'x1.huge'; allowed: .*m5\.large"):
        read_prices("us-east-1").host("x1.huge")


def test_a_function_is_billed_by_its_architecture() -> None:
    arm, x86 = (function_price("us-east-1", one, read_prices("us-east-1")) for one in ("arm64", "x86_64"))
    assert arm.per_gb_second == pytest.approx(x86.per_gb_second * 0.8, rel=1e-4)
    assert arm.dated == x86.dated == read_prices("us-east-1").dated
    assert (x86.per_get, x86.per_put) == (4e-7, 5e-6)


def test_a_refreshed_region_stands_beside_those_that_came() -> None:
    newer = replace(read_prices("us-east-1"), dated="2027-01-01", x86_64=1.5e-5)
    write_prices("us-east-1", newer, refreshed_file())
    write_prices("mars-1", newer, refreshed_file())
    assert read_prices("us-east-1") == read_prices("mars-1") == newer
    assert read_prices("us-west-2") == shipped()["us-west-2"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"us-east-1": {}}', '{"us-east-1": 7}'])
def test_a_table_that_cannot_be_read_is_named_and_not_passed_over(text: str) -> None:
    refreshed_file().parent.mkdir(parents=True)
    refreshed_file().write_text(text)
    with pytest.raises(PipelineError, match=r"prices\.json.*remove the file"):
        all_prices()


async def test_aws_s_list_is_read_in_its_own_form() -> None:
    async with publisher(lists(FRANKFURT)) as url, ClientSession() as session:
        found = await fetch_prices(session, FRANKFURT, url)
    assert found.dated == "2026-11-12"
    assert (found.x86_64, found.arm64, found.request) == (1.7e-5, 1.3e-5, 2.1e-7)
    assert (found.put, found.get, found.storage) == (5.4e-6, 4.3e-7, 0.0245)
    assert dict(found.hosts) == {"m5.large": 0.115}


async def test_a_region_without_a_prefix_is_read_too() -> None:
    async with publisher(lists("us-east-1")) as url, ClientSession() as session:
        assert (await fetch_prices(session, "us-east-1", url)).put == 5.4e-6


async def test_a_refresh_is_kept_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    async with publisher(lists(FRANKFURT)) as url:
        await prices(parser().parse_args(["prices", "--refresh", "--region", FRANKFURT, "--url", url, "--json"]))
    told = capsys.readouterr()
    assert json.loads(told.out)[FRANKFURT]["x86_64"] == 1.7e-5
    assert str(refreshed_file()) in told.err
    await prices(parser().parse_args(["prices"]))
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(FRANKFURT))
    assert "2026-11-12" in row
    assert "0.0000170000" in row


BAD = {
    "a page": "<html>go away</html>",
    "half a list": lists(FRANKFURT)["AWSLambda"][:2000],
    "another region": lists("us-east-1")["AWSLambda"],
    "nothing": "",
    "no list": "[1, 2]",
    "an empty one": '{"products": {}, "terms": {"OnDemand": {}}}',
    "free": lists(FRANKFURT)["AWSLambda"].replace('"0.0000170000"', '"0.0"'),
    "no figure": lists(FRANKFURT)["AWSLambda"].replace('"0.0000170000"', '"a lot"'),
    "other money": lists(FRANKFURT)["AWSLambda"].replace('"USD": "0.0000170000"', '"CNY": "0.0000170000"'),
    "no attributes": lists(FRANKFURT)["AWSLambda"].replace('"attributes"', '"qualities"'),
}


@pytest.mark.parametrize("text", list(BAD.values()), ids=list(BAD))
async def test_a_bad_answer_leaves_the_old_table(text: str) -> None:
    write_prices(FRANKFURT, replace(read_prices(FRANKFURT), dated="2026-01-01"), refreshed_file())
    before = refreshed_file().read_bytes()
    async with publisher({**lists(FRANKFURT), "AWSLambda": text}) as url:
        with pytest.raises(OutsideError, match=r"AWSLambda|does not say all|no price"):
            await prices(parser().parse_args(["prices", "--refresh", "--region", FRANKFURT, "--url", url]))
    assert refreshed_file().read_bytes() == before


async def test_a_server_that_has_no_list_or_is_not_there_is_named() -> None:
    async with publisher({}) as url, ClientSession() as session:
        with pytest.raises(OutsideError, match="answers with status 404"):
            await fetch_prices(session, FRANKFURT, url)
    async with ClientSession() as session:
        with pytest.raises(OutsideError, match=r"127\.0\.0\.1:9/offers"):
            await fetch_prices(session, FRANKFURT, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    "words", [["--refresh"], ["--url", "http://x"], ["--refresh", "--region", "../../x"], ["--region", "mars-1"]]
)
async def test_what_cannot_be_asked_for_is_refused(words: list[str]) -> None:
    with pytest.raises(PipelineError, match=r"--region|--url|region"):
        await prices(parser().parse_args(["prices", *words]))


@given(st.lists(st.integers(1, 60), max_size=80))
async def test_members_are_the_same_however_a_list_is_cut(cuts: list[int]) -> None:
    data = lists(FRANKFURT)["AWSLambda"].encode()

    async def pieces(sizes: list[int]) -> AsyncIterator[bytes]:
        at = 0
        for size in sizes:
            yield data[at : at + size]
            at += size
        yield data[at:]

    async def read(sizes: list[int]) -> list[object]:
        async with aclosing(members(pieces(sizes))) as found:
            return [one async for one in found]

    assert await read(cuts) == await read([])
