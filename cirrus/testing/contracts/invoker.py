"""What every ``Invoker`` must do, as a pytest suite to derive from."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Literal

import pytest

from cirrus.cloud.base import Assignment, Exit, Invoker
from cirrus.core.ids import WorkerId
from cirrus.errors import InvokeError

Deed = Literal["finish", "crash", "linger"]


class InvokerContract:
    """Derive from it, name the class ``Test...``, and give it a fixture ``invoker``, closed afterwards.

    The invoker's workers must do what the ``run_id`` of their assignment says: ``finish`` ends well, ``crash`` raises
    ``RuntimeError("told to crash")``, ``linger`` stays until it is stopped. Set ``tells_ends = False`` for a provider
    that cannot tell how its workers ended, and ``ends_workers = False`` for one that cannot end those that are at work:
    tests that need it are then skipped. Tests need pytest-asyncio's auto mode.
    """

    tells_ends: ClassVar[bool] = True
    ends_workers: ClassVar[bool] = True
    patience: ClassVar[float] = 60.0
    """Seconds after which an end that did not come fails the test."""

    def assignment(self, deed: Deed, slot: int = 0, attempt: int = 1) -> Assignment:
        """A worker's assignment; override it where your workers need a true one."""
        worker = WorkerId("train", slot, attempt)
        return Assignment(deed, 1, worker, "train", ("http://127.0.0.1:9",), "memory:", "a-token", 256, 600.0)

    async def ends(self, invoker: Invoker, count: int) -> list[Exit]:
        """The next ``count`` ends."""
        if not self.tells_ends:
            pytest.skip("this provider does not tell how its workers ended")
        exits = invoker.exits()
        async with asyncio.timeout(self.patience):
            return [await anext(exits) for _ in range(count)]

    async def test_its_terms_say_what_a_worker_costs_and_whether_ends_are_told(self, invoker: Invoker) -> None:
        terms = await invoker.terms()
        assert terms.price.dated
        assert terms.ends == ("told" if self.tells_ends else "untold")

    async def test_a_worker_that_has_done_its_work_finishes(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("finish", slot=4, attempt=7))
        (end,) = await self.ends(invoker, 1)
        assert (end.worker, end.cause) == (WorkerId("train", 4, 7), "finished")
        assert end.seconds >= 0

    async def test_a_crash_is_told_with_its_evidence(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("crash"))
        (end,) = await self.ends(invoker, 1)
        assert end.cause == "crashed"
        assert "told to crash" in end.detail

    def need_ends(self) -> None:
        """Skip where workers cannot be ended."""
        if not self.ends_workers:
            pytest.skip("this provider cannot end a worker that is at work")

    async def test_a_worker_that_is_stopped_ends(self, invoker: Invoker) -> None:
        self.need_ends()
        lingering = self.assignment("linger")
        await invoker.invoke(lingering)
        await invoker.stop(lingering.worker)
        (end,) = await self.ends(invoker, 1)
        assert end.worker == lingering.worker
        assert end.cause in {"killed", "finished"}

    async def test_only_the_worker_that_is_named_is_stopped(self, invoker: Invoker) -> None:
        self.need_ends()
        old, new = self.assignment("linger", attempt=1), self.assignment("linger", attempt=2)
        await invoker.invoke(old)
        await invoker.invoke(new)
        await invoker.stop(old.worker)
        (first,) = await self.ends(invoker, 1)
        await invoker.stop(new.worker)
        (second,) = await self.ends(invoker, 1)
        assert (first.worker, second.worker) == (old.worker, new.worker)

    async def test_stopping_a_stranger_does_nothing(self, invoker: Invoker) -> None:
        await invoker.stop(WorkerId("nobody", 0, 1))

    async def test_every_end_is_told_and_names_its_worker(self, invoker: Invoker) -> None:
        deeds: tuple[Deed, ...] = ("finish", "crash", "finish", "crash", "finish")
        for slot, deed in enumerate(deeds):
            await invoker.invoke(self.assignment(deed, slot))
        found = {end.worker.slot: end.cause for end in await self.ends(invoker, len(deeds))}
        assert found == {0: "finished", 1: "crashed", 2: "finished", 3: "crashed", 4: "finished"}

    async def test_the_same_assignment_may_be_invoked_twice(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("finish"))
        await invoker.invoke(self.assignment("finish"))
        first, *_ = await self.ends(invoker, 1)
        assert first.worker == self.assignment("finish").worker

    async def test_close_ends_the_workers_and_the_news_of_them(self, invoker: Invoker) -> None:
        self.need_ends()
        await invoker.invoke(self.assignment("linger"))
        await invoker.close()
        async with asyncio.timeout(self.patience):
            found = [end async for end in invoker.exits()]
        assert len(found) == (1 if self.tells_ends else 0)

    async def test_close_may_be_said_twice(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("finish"))
        await invoker.close()
        await invoker.close()

    async def test_nothing_is_invoked_after_close(self, invoker: Invoker) -> None:
        await invoker.close()
        with pytest.raises(InvokeError):
            await invoker.invoke(self.assignment("finish"))
