"""What AWS takes, by region, on the day that the table names; what is not in it is refused, not taken as free."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from cirrus import checks
from cirrus.core.cost import Price
from cirrus.errors import PipelineError

Architecture = Literal["x86_64", "arm64"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPrices:
    """Dollars in one region on the day ``dated``; where the price falls with what a month uses, the first step's.

    ``x86_64`` and ``arm64``: a gigabyte of a function's memory during a second. ``request``: one invocation. ``get``,
    ``put``: one request to S3. ``storage``: a gigabyte on S3 for a month. ``hosts``: an hour of an EC2 host with Linux
    on demand, by its type.
    """

    dated: str
    x86_64: float
    arm64: float
    request: float
    get: float
    put: float
    storage: float
    hosts: Mapping[str, float]

    def __post_init__(self) -> None:
        checks.text("prices.dated", self.dated)
        for name in ("x86_64", "arm64", "request", "get", "put", "storage"):
            checks.positive(f"prices.{name}", getattr(self, name))
        for name, dollars in self.hosts.items():
            checks.positive(f"prices.hosts[{name!r}]", dollars)

    def host(self, kind: str) -> float:
        """Dollars for an hour of an EC2 host of that type; ``PipelineError`` where it is not known."""
        if kind not in self.hosts:
            raise PipelineError("instance_type", kind, f"one with a known price: {', '.join(sorted(self.hosts))}")
        return self.hosts[kind]


@cache
def shipped() -> Mapping[str, RegionPrices]:
    """The table that comes with cirrus; it reads a file the first time."""
    text = files("cirrus.cloud").joinpath("prices.json").read_text(encoding="utf-8")
    return {name: RegionPrices(**fields) for name, fields in json.loads(text).items()}


def refreshed_file() -> Path:
    """Where ``cirrus prices --refresh`` keeps what it was told."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cirrus" / "prices.json"


def all_prices(file: Path | None = None) -> Mapping[str, RegionPrices]:
    """The table by region: as refreshed in ``file``, or else as it came with cirrus; ``PipelineError`` if unreadable.

    It reads files: not on the loop.
    """
    return {**shipped(), **_read(refreshed_file() if file is None else file)}


def read_prices(region: str, file: Path | None = None) -> RegionPrices:
    """The region's prices; ``PipelineError`` where there are none. It reads files: not on the loop."""
    table = all_prices(file)
    if region not in table:
        allowed = f"{', '.join(sorted(table))}, or what cirrus prices --refresh --region {region} adds"
        raise PipelineError("region", region, allowed)
    return table[region]


def write_prices(region: str, prices: RegionPrices, file: Path) -> None:
    """Keep the region's prices in the file beside those of others."""
    known = {name: asdict(one) for name, one in {**_read(file), region: prices}.items()}
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    new.replace(file)


def function_price(region: str, architecture: Architecture, prices: RegionPrices) -> Price:
    """What a function's workers cost there; ``PipelineError`` for another architecture."""
    checks.one_of("architecture", architecture, get_args(Architecture))
    return Price(
        name=f"AWS Lambda {architecture} in {region}",
        per_gb_second=prices.arm64 if architecture == "arm64" else prices.x86_64,
        per_invocation=prices.request,
        per_get=prices.get,
        per_put=prices.put,
        dated=prices.dated,
    )


def _read(file: Path) -> dict[str, RegionPrices]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return {name: RegionPrices(**fields) for name, fields in found.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, PipelineError) as error:
        raise PipelineError("prices", str(file), "what cirrus prices --refresh has written; remove the file") from error
