"""Waiting that ends early when there is nothing left to wait for."""

from __future__ import annotations

import asyncio
import contextlib

from cirrus.actors.kernel import Kernel


async def pause(kernel: Kernel, seconds: float, over: asyncio.Event) -> None:
    """Wait so many seconds on the kernel's clock, or until ``over`` is set."""
    with contextlib.suppress(TimeoutError):
        await kernel.within(seconds, over.wait())
