"""AWS's public price list: one JSON document a service and region, up to hundreds of megabytes, read as it comes in.

Its form: ``publicationDate``; ``products`` by SKU with their attributes; ``terms.OnDemand`` by SKU with their prices,
in steps of what a month uses; behind that comes what is bought in advance, which is not read.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from cirrus.cloud.prices import RegionPrices
from cirrus.errors import OutsideError, PipelineError

URL = "https://pricing.us-east-1.amazonaws.com"
HOSTS = ("c5.large", "c5.xlarge", "m5.large", "m5.xlarge", "m7g.large", "r5.large")
LARGEST = 4 << 20
SILENCE = 60.0  # seconds without a byte after which a list is given up

Path = tuple[str, ...]
Attributes = Mapping[str, Any]

_BETWEEN = re.compile(r"[\s,]*")
_COLON = re.compile(r"\s*:\s*")
_JSON = json.JSONDecoder()
_ENTERED: frozenset[Path] = frozenset({(), ("products",), ("terms",), ("terms", "OnDemand")})
"""Objects that are read member by member; everything below them is small."""

_FUNCTIONS = {
    "AWS-Lambda-Duration": "x86_64", "AWS-Lambda-Duration-ARM": "arm64", "AWS-Lambda-Requests": "request",
}  # fmt: skip
_STORE = {"Requests-Tier1": "put", "Requests-Tier2": "get", "TimedStorage-ByteHrs": "storage"}


async def fetch_prices(session: ClientSession, region: str, url: str = URL) -> RegionPrices:
    """The region's prices as AWS publishes them now; ``OutsideError`` where it does not answer, or makes no sense."""
    dated, found = "", dict[str, float]()
    for service, name in (("AWSLambda", _function), ("AmazonS3", _store), ("AmazonEC2", _host)):
        address = f"{url.rstrip('/')}/offers/v1.0/aws/{service}/current/{region}/index.json"
        try:
            async with session.get(address, timeout=ClientTimeout(total=None, sock_read=SILENCE)) as answer:
                if answer.status != 200:
                    raise OutsideError(f"{address} answers with status {answer.status}")
                day, prices = await _prices(answer.content.iter_chunked(1 << 18), region, name)
        except (ClientError, TimeoutError, OSError) as error:
            raise OutsideError(f"{address}: {type(error).__name__}: {error}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutsideError(f"{address} is no price list: {error}") from error
        dated, found = max(dated, day), found | prices
    hosts = {name.removeprefix("host "): found.pop(name) for name in sorted(found) if name.startswith("host ")}
    try:
        return RegionPrices(dated=dated, hosts=hosts, **found)
    except TypeError as error:
        raise OutsideError(f"{url} does not say all prices for {region}: {error}") from error
    except PipelineError as error:
        raise OutsideError(f"{url} says for {region} what is no price: {error}") from error


async def _prices(
    chunks: AsyncIterator[bytes], region: str, name: Callable[[Attributes], str]
) -> tuple[str, dict[str, float]]:
    """The day of a list, and the prices in it that have a name."""
    day, names, prices = "", dict[str, str](), dict[str, float]()
    async with aclosing(members(chunks)) as found:
        async for path, value in found:
            match path:
                case ("publicationDate",):
                    day = str(value)[:10]
                case ("products", sku) if value["attributes"].get("regionCode") == region:
                    wanted = name(value["attributes"])
                    if wanted:
                        names[sku] = wanted
                case ("terms", "OnDemand", sku) if sku in names:
                    prices[names[sku]] = _first_step(value)
                case _:
                    pass
    return day, prices


def _function(attributes: Attributes) -> str:
    return _FUNCTIONS.get(attributes.get("group", ""), "")


def _store(attributes: Attributes) -> str:
    usage = attributes.get("usagetype", "")
    return next((name for end, name in _STORE.items() if usage == end or _is_of_region(usage, end)), "")


def _host(attributes: Attributes) -> str:
    usage = attributes.get("usagetype", "")
    box = f"BoxUsage:{attributes.get('instanceType')}"
    plain = attributes.get("operation") == "RunInstances" and attributes.get("operatingSystem") == "Linux"
    wanted = plain and attributes.get("instanceType") in HOSTS and (usage == box or _is_of_region(usage, box))
    return f"host {attributes['instanceType']}" if wanted else ""


def _is_of_region(usage: str, end: str) -> bool:
    """Whether that is a usage with a region before it (``EUC1-Requests-Tier1``), and with nothing else."""
    return usage.endswith(f"-{end}") and usage.removesuffix(f"-{end}").isalnum()


def _first_step(terms: Mapping[str, Any]) -> float:
    """Dollars for the first unit."""
    (term,) = terms.values()
    (first,) = (one for one in term["priceDimensions"].values() if float(one["beginRange"]) == 0)
    return float(first["pricePerUnit"]["USD"])


async def members(chunks: AsyncIterator[bytes]) -> AsyncGenerator[tuple[Path, Any], None]:
    """Members of a price list with their paths, in order, to the last on-demand term; ``ValueError`` if malformed."""
    decode = codecs.getincrementaldecoder("utf-8")().decode
    reader = _Reader()
    async for chunk in chunks:
        for member in reader.feed(decode(chunk)):
            yield member
        if reader.over:
            return
    raise ValueError("it ends in the middle")


class _Reader:
    """Takes a list in piece by piece; ``over`` once nothing of interest can follow."""

    def __init__(self) -> None:
        self.over = False
        self._text = ""
        self._path: Path | None = None  # the object whose members come next; before the first there is none

    def feed(self, text: str) -> Iterator[tuple[Path, Any]]:
        """What can be read now."""
        self._text += text
        at = 0
        while not self.over:
            start = _BETWEEN.match(self._text, at)
            at = start.end() if start else at
            if at == len(self._text):
                break
            try:
                found, at = self._next(at)
            except (json.JSONDecodeError, IndexError):  # the rest of it is still to come
                break
            if found is not None:
                yield found
        self._text = self._text[at:]
        if len(self._text) > LARGEST:
            raise ValueError(f"a member of more than {LARGEST} characters")

    def _next(self, at: int) -> tuple[tuple[Path, Any] | None, int]:
        """The member that begins there, where it is not one that is entered or left, and where it ends."""
        mark = self._text[at]
        if self._path is None and mark == "{":
            self._path = ()
            return None, at + 1
        if self._path is not None and mark == "}":
            self.over = self._path in {(), ("terms", "OnDemand")}
            self._path = self._path[:-1]
            return None, at + 1
        if self._path is None or mark != '"':
            raise ValueError(f"{self._text[at : at + 20]!r} where a member should begin")
        key, colon = _JSON.raw_decode(self._text, at)
        value_at = _COLON.match(self._text, colon)
        if value_at is None:
            raise IndexError
        path, at = (*self._path, key), value_at.end()
        if path in _ENTERED and self._text[at] == "{":
            self._path = path
            return None, at + 1
        value, end = _JSON.raw_decode(self._text, at)
        if end == len(self._text):  # a number may go on
            raise IndexError
        return (path, value), end
