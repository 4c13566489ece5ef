"""Blocking calls of the SDK, off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


async def aside(call: Callable[[], T]) -> T:
    """What a blocking call returns, made in a thread of its own, which ends with it."""
    threads = ThreadPoolExecutor(1, "cirrus-aside")
    try:
        return await asyncio.wrap_future(threads.submit(call))
    finally:
        threads.shutdown(wait=False)
