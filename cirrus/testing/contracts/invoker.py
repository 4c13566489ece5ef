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
    ``RuntimeError("told to crash")``, ``linger`` stays until it is stopped. Tests need pytest-asyncio's auto mode.

    A provider may be unable to do something, and then has to do what holds in its place, which is tried instead:

    * ``tells_ends = False``: it tells no ends, whatever happens; drivers bill such workers to their timeout. Override
      ``ends``, to find ends in the provider's own books.
    * ``ends_workers = False``: whom it is told to stop when at work, or leaves behind at its close, goes on to an end
      of its own. Override ``linger``, to return when the worker is at work, and ``release``.
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
        exits = invoker.exits()
        async with asyncio.timeout(self.patience):
            return [await anext(exits) for _ in range(count)]

    async def linger(self, invoker: Invoker, attempt: int = 1) -> Assignment:
        """Have a worker linger."""
        lingering = self.assignment("linger", attempt=attempt)
        await invoker.invoke(lingering)
        return lingering

    async def release(self) -> None:
        """Have all that linger finish, by other means than the invoker's."""

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

    async def test_a_worker_that_is_stopped_ends_or_goes_on_to_its_own_end(self, invoker: Invoker) -> None:
        lingering = await self.linger(invoker)
        await invoker.stop(lingering.worker)
        if not self.ends_workers:
            await self.release()
        (end,) = await self.ends(invoker, 1)
        assert end.worker == lingering.worker
        assert end.cause in ({"killed", "finished"} if self.ends_workers else {"finished"})

    async def test_only_the_worker_that_is_named_is_stopped(self, invoker: Invoker) -> None:
        old, new = await self.linger(invoker, 1), await self.linger(invoker, 2)
        await invoker.stop(old.worker)
        if self.ends_workers:
            (first,) = await self.ends(invoker, 1)
            await invoker.stop(new.worker)
            (second,) = await self.ends(invoker, 1)
            assert (first.worker, second.worker) == (old.worker, new.worker)
        else:
            await self.release()
            found = {end.worker: end.cause for end in await self.ends(invoker, 2)}
            assert found == {old.worker: "finished", new.worker: "finished"}

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

    async def test_an_end_is_told_once_or_never(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("finish"))
        await self.ends(invoker, 1)
        await invoker.close()
        assert [end async for end in invoker.exits()] == []

    async def test_close_ends_the_workers_it_can_and_the_news_of_them(self, invoker: Invoker) -> None:
        await self.linger(invoker)
        await invoker.close()
        async with asyncio.timeout(self.patience):
            found = [end async for end in invoker.exits()]
        await self.release()
        assert len(found) == (1 if self.tells_ends and self.ends_workers else 0)

    async def test_close_may_be_said_twice(self, invoker: Invoker) -> None:
        await invoker.invoke(self.assignment("finish"))
        await invoker.close()
        await invoker.close()

    async def test_nothing_is_invoked_after_close(self, invoker: Invoker) -> None:
        await invoker.close()
        with pytest.raises(InvokeError):
            await invoker.invoke(self.assignment("finish"))
