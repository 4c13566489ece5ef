"""A small price list in AWS's own form, and a server that publishes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

PREFIX = {"eu-central-1": "EUC1-", "us-east-1": ""}


def service(code: str, region: str, products: list[tuple[dict[str, str], list[str]]]) -> str:
    """A list with those products: attributes, and dollars of each step of what a month uses, the last without end."""
    skus = {f"SKU{number:05}": one for number, one in enumerate(products)}
    terms: dict[str, Any] = {}
    for sku, (_, dollars) in skus.items():
        steps = {
            f"{sku}.JRTCKXETXF.R{number}": {
                "rateCode": f"{sku}.JRTCKXETXF.R{number}",
                "description": 'a price, "as quoted" {with braces}, in dollars · per unit',
                "beginRange": str(number * 1_000_000), "endRange": "Inf", "unit": "Unit",
                "pricePerUnit": {"USD": price}, "appliesTo": [],
            }
            for number, price in reversed(list(enumerate(dollars)))
        }  # fmt: skip
        terms[sku] = {
            f"{sku}.JRTCKXETXF": {
                "offerTermCode": "JRTCKXETXF", "sku": sku, "effectiveDate": "2026-11-01T00:00:00Z",
                "priceDimensions": steps, "termAttributes": {},
            }
        }  # fmt: skip
    document = {
        "formatVersion": "v1.0",
        "disclaimer": "This pricing list is for informational purposes only.",
        "offerCode": code,
        "version": "20261112000000",
        "publicationDate": "2026-11-12T09:22:25Z",
        "products": {
            sku: {"sku": sku, "productFamily": "x", "attributes": {"regionCode": region, **attributes}}
            for sku, (attributes, _) in skus.items()
        },
        "terms": {"OnDemand": terms, "Reserved": {"SKU00000": {"never": "read"}}},
        "attributesList": {},
    }
    return json.dumps(document, indent=2, ensure_ascii=False)


def lists(region: str) -> dict[str, str]:
    """What the server publishes for a region, by service."""
    before = PREFIX[region]
    functions = [
        ({"group": "AWS-Lambda-Duration", "usagetype": f"{before}Lambda-GB-Second"}, ["0.0000170000", "0.0000150000"]),
        ({"group": "AWS-Lambda-Duration-ARM", "usagetype": f"{before}Lambda-GB-Second-ARM"}, ["0.0000130000"]),
        ({"group": "AWS-Lambda-Requests", "usagetype": f"{before}Request"}, ["0.0000002100"]),
        ({"group": "AWS-Lambda-Requests", "regionCode": "", "location": "Any"}, ["0.0000000000"]),
        ({"group": "AWS-Lambda-Duration-Provisioned"}, ["0.0000097222"]),
    ]
    store = [
        ({"usagetype": f"{before}Requests-Tier1"}, ["0.0000054000"]),
        ({"usagetype": f"{before}Requests-Tier2"}, ["0.0000004300"]),
        ({"usagetype": f"{before}TimedStorage-ByteHrs"}, ["0.0245000000", "0.0235000000"]),
        ({"usagetype": f"{before}Requests-GDA-Tier1"}, ["0.0000600000"]),
        ({"usagetype": f"{before}EarlyDelete-TimedStorage-ByteHrs"}, ["9.0"]),
    ]
    linux = {"instanceType": "m5.large", "operatingSystem": "Linux"}
    hosts = [
        ({**linux, "usagetype": f"{before}BoxUsage:m5.large", "operation": "RunInstances"}, ["0.1150000000"]),
        ({**linux, "usagetype": f"{before}DedicatedUsage:m5.large", "operation": "RunInstances"}, ["0.1220000000"]),
        ({**linux, "usagetype": f"{before}UnusedBox:m5.large", "operation": "RunInstances"}, ["0.0000000000"]),
        ({**linux, "usagetype": f"{before}BoxUsage:m5.large", "operation": "RunInstances:0010"}, ["0.2"]),
        ({**linux, "instanceType": "m5.metal", "usagetype": "BoxUsage:m5.metal", "operation": "RunInstances"}, ["5.5"]),
    ]
    return {
        "AWSLambda": service("AWSLambda", region, functions),
        "AmazonS3": service("AmazonS3", region, store),
        "AmazonEC2": service("AmazonEC2", region, hosts),
    }


@asynccontextmanager
async def publisher(documents: dict[str, str], piece: int = 1000) -> AsyncIterator[str]:
    """A server that sends the documents in small pieces; its URL."""

    async def handle(request: web.Request) -> web.StreamResponse:
        text = documents.get(request.match_info["service"])
        if text is None:
            raise web.HTTPNotFound
        response = web.StreamResponse()
        await response.prepare(request)
        data = text.encode()
        for start in range(0, len(data), piece):
            await response.write(data[start : start + piece])
        return response

    app = web.Application()
    app.router.add_get("/offers/v1.0/aws/{service}/current/{region}/index.json", handle)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
