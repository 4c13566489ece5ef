"""The contract of invokers whose provider cannot end workers that are at work."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import ClassVar

import pytest

from cirrus.cloud.base import Assignment, Invoker
from cirrus.testing.contracts.invoker import Deed, InvokerContract
from tests.cloud.children import Line, line


class HeldContract(InvokerContract):
    """Who lingers does the deed ``hold``: it calls, and stays until nobody is on the line any more."""

    ends_workers: ClassVar[bool] = False
    open_line: Line

    @pytest.fixture(autouse=True)
    async def _opened(self) -> AsyncIterator[None]:
        async with line() as self.open_line:
            yield

    def assignment(self, deed: Deed, slot: int = 0, attempt: int = 1) -> Assignment:
        made = super().assignment(deed, slot, attempt)
        done = "hold" if deed == "linger" else deed
        return replace(made, run_id=done, shards=(self.open_line.address,))

    async def linger(self, invoker: Invoker, attempt: int = 1) -> Assignment:
        lingering = await super().linger(invoker, attempt)
        await self.open_line.next()
        return lingering

    async def release(self) -> None:
        for writer in self.open_line.writers:
            writer.close()
