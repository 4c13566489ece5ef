"""Supervision: an actor is made again behind its reference, within a budget."""

from __future__ import annotations

import pytest

from cirrus.actors.actor import Ref
from cirrus.actors.kernel import Kernel
from cirrus.actors.supervisor import RestartPolicy
from cirrus.clock import SystemClock
from cirrus.errors import Closed, PipelineError
from cirrus.testing.clock import ManualClock
from tests.actors.adder import Add, Adder, Fail, Message, WhenTen

BUG = ZeroDivisionError("a bug")


async def test_a_failed_actor_is_made_again_behind_the_same_reference() -> None:
    made: list[Adder] = []

    def factory() -> Adder:
        made.append(Adder())
        return made[-1]

    async with Kernel(SystemClock()) as kernel:
        ref = kernel.supervise(factory, name="adder", restarts=RestartPolicy(3, 60.0))
        assert await ref.ask(Add(5)) == 5
        with pytest.raises(Closed) as caught:
            await ref.ask(Fail(BUG))
        assert caught.value.__cause__ is BUG
        assert await ref.ask(Add(1)) == 1, "a new actor begins anew"
    assert [one.log for one in made] == [["adder started", "adder stopped"]] * 2


async def test_messages_in_the_mailbox_survive_a_failure() -> None:
    async with Kernel(SystemClock()) as kernel:
        ref = kernel.supervise(Adder, name="adder", restarts=RestartPolicy(1, 60.0))
        ref.tell(Add(100))
        ref.tell(Fail(BUG))
        ref.tell(Add(1))
        assert await ref.ask(Add(1)) == 2


async def test_those_who_wait_for_a_promise_of_a_failed_actor_hear_of_it() -> None:
    async with Kernel(SystemClock()) as kernel:
        ref = kernel.supervise(Adder, name="adder", restarts=RestartPolicy(1, 60.0))
        waiting = kernel.task(expect_closed(ref), name="waiting")
        assert await ref.ask(Add(1)) == 1
        ref.tell(Fail(BUG))
        assert await waiting.wait() is BUG
        assert await ref.ask(Add(1)) == 1


async def expect_closed(ref: Ref[Message]) -> BaseException | None:
    with pytest.raises(Closed) as caught:
        await ref.ask(WhenTen())
    return caught.value.__cause__


async def test_one_failure_too_many_within_the_window_ends_the_block() -> None:
    clock = ManualClock()
    survived = 0

    async def block() -> None:
        nonlocal survived
        async with Kernel(clock) as kernel:
            ref = kernel.supervise(Adder, name="adder", restarts=RestartPolicy(2, 60.0))
            for _ in range(20):
                await clock.advance(31.0)  # two in each window: that may go on for ever
                ref.tell(Fail(BUG))
                assert await ref.ask(Add(1)) == 1
                survived += 1
            ref.tell(Fail(BUG))
            assert await ref.ask(Add(1)) == 1, "the last of the budget"
            ref.tell(Fail(BUG))
            await ref.ask(Add(1))

    with pytest.raises(ZeroDivisionError) as caught:
        await block()
    assert caught.value is BUG
    assert survived == 20


async def test_a_failure_of_the_factory_or_of_the_beginning_counts_too() -> None:
    tries = 0

    def factory() -> Adder:
        nonlocal tries
        tries += 1
        raise BUG

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            await kernel.supervise(factory, name="adder", restarts=RestartPolicy(4, 60.0)).ask(Add(1))

    with pytest.raises(ZeroDivisionError):
        await block()
    assert tries == 5


async def test_our_errors_about_what_was_told_are_failures_and_count() -> None:
    error = PipelineError("x", 1, "2")

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            ref = kernel.supervise(Adder, name="adder", restarts=RestartPolicy(0, 1.0))
            await ref.send(Fail(error))
            await ref.ask(Add(1))

    with pytest.raises(PipelineError) as caught:
        await block()
    assert caught.value is error


async def test_a_failure_while_it_stops_does_not_hide_the_first() -> None:
    class Sore(Adder):
        async def stopped(self) -> None:
            raise ValueError("cannot stop")

    error = ZeroDivisionError("first")

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            ref = kernel.spawn(Sore(), name="sore")
            await ref.ask(Fail(error))

    with pytest.raises(ZeroDivisionError) as caught:
        await block()
    assert caught.value is error
    assert error.__notes__ == ["and then, while it stopped: ValueError('cannot stop')"]


async def test_a_supervised_actor_that_fails_while_it_stops_is_not_made_again() -> None:
    made: list[Adder] = []

    class Sore(Adder):
        async def stopped(self) -> None:
            raise ValueError("cannot stop")

    def factory() -> Adder:
        made.append(Sore())
        return made[-1]

    async def block() -> None:
        async with Kernel(SystemClock()) as kernel:
            await kernel.supervise(factory, name="sore", restarts=RestartPolicy(9, 60.0)).ask(Add(1))

    with pytest.raises(ValueError, match="cannot stop"):
        await block()
    assert len(made) == 1


def test_a_policy_checks_its_figures() -> None:
    with pytest.raises(PipelineError):
        RestartPolicy(-1, 1.0)
    with pytest.raises(PipelineError):
        RestartPolicy(1, 0.0)
