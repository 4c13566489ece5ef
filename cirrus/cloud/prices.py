"""What AWS takes, by region, on the day that the table names; what is not in it is refused, not taken as free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cirrus import checks
from cirrus.core.cost import Price
from cirrus.errors import PipelineError

Architecture = Literal["x86_64", "arm64"]

DATED = "2026-11-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionPrices:
    """Dollars in one region on the day ``dated``.

    ``x86_64`` and ``arm64``: a gigabyte of a function's memory during a second. ``request``: one invocation. ``get``,
    ``put``: one request to S3. ``hosts``: an hour of an EC2 host on demand, by its type.
    """

    dated: str
    x86_64: float
    arm64: float
    request: float
    get: float
    put: float
    hosts: Mapping[str, float]

    def __post_init__(self) -> None:
        checks.text("prices.dated", self.dated)
        for name in ("x86_64", "arm64", "request", "get", "put"):
            checks.within(f"prices.{name}", getattr(self, name), 0.0, 1e6)
        for name, dollars in self.hosts.items():
            checks.within(f"prices.hosts[{name!r}]", dollars, 0.0, 1e6)


def _region(get: float, put: float, **hosts: float) -> RegionPrices:
    return RegionPrices(
        dated=DATED, x86_64=1.66667e-5, arm64=1.33334e-5, request=2e-7, get=get, put=put,
        hosts={name.replace("_", "."): dollars for name, dollars in hosts.items()},
    )  # fmt: skip


_AMERICA = _region(4e-7, 5e-6, m5_large=0.096, m5_xlarge=0.192, c5_large=0.085, c5_xlarge=0.17, r5_large=0.126)

REGIONS: Mapping[str, RegionPrices] = {
    "us-east-1": _AMERICA,
    "us-east-2": _AMERICA,
    "us-west-2": _AMERICA,
    "eu-west-1": _region(
        4e-7, 5e-6, m5_large=0.107, m5_xlarge=0.214, c5_large=0.096, c5_xlarge=0.192, r5_large=0.141
    ),
    "eu-central-1": _region(
        4.3e-7, 5.4e-6, m5_large=0.115, m5_xlarge=0.23, c5_large=0.097, c5_xlarge=0.194, r5_large=0.152
    ),
}
"""The table that comes with cirrus; ``cirrus prices --refresh`` writes a newer one."""


def refreshed_file() -> Path:
    """Where ``cirrus prices --refresh`` keeps what it was told."""
    return Path.home() / ".cirrus" / "prices.json"


def read_prices(region: str, file: Path | None = None) -> RegionPrices:
    """The region's prices, as refreshed in ``file`` or as they came with cirrus.

    ``PipelineError`` where there are none, or where the file is none of ours. It reads a file: not on the loop.
    """
    file = refreshed_file() if file is None else file
    found = {**REGIONS, **_read(file)}.get(region)
    if found is None:
        raise PipelineError("region", region, f"{', '.join(sorted(REGIONS))}, or what cirrus prices --refresh adds")
    return found


def write_prices(region: str, prices: RegionPrices, file: Path) -> None:
    """Keep the region's prices in the file beside those of others."""
    known = {name: asdict(one) for name, one in {**_read(file), region: prices}.items()}
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    new.write_text(json.dumps(known, indent=1, sort_keys=True), encoding="utf-8")
    new.replace(file)


def function_price(region: str, architecture: Architecture, prices: RegionPrices) -> Price:
    """What a function's workers cost there."""
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
