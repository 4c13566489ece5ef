"""The mailbox: order, room, and that nobody waits for the dead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.actors.mailbox import Mailbox
from cirrus.errors import Closed


@dataclass(frozen=True, slots=True)
class Progress:
    of: str
    done: int

    @property
    def latest_key(self) -> str:
        return self.of


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_messages_come_out_in_the_order_in_which_they_went_in() -> None:
    mailbox: Mailbox[int] = Mailbox(10)
    for number in range(10):
        await mailbox.put(number)
    assert [await mailbox.get() for _ in range(10)] == list(range(10))


async def test_a_full_mailbox_refuses_at_once_or_lets_wait() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    assert mailbox.put_nowait("first")
    assert not mailbox.put_nowait("second")
    waiting = asyncio.create_task(mailbox.put("third"))
    await turns()
    assert not waiting.done()
    assert await mailbox.get() == "first"
    assert not mailbox.put_nowait("late"), "those who wait come first"
    await waiting
    assert await mailbox.get() == "third"
    assert len(mailbox) == 0


async def test_a_sender_that_gives_up_leaves_no_message() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    await mailbox.put("first")
    waiting = [asyncio.create_task(mailbox.put(text)) for text in ("given up", "second")]
    await turns()
    waiting[0].cancel()
    assert await mailbox.get() == "first"
    assert await mailbox.get() == "second"
    await asyncio.wait(waiting)
    assert len(mailbox) == 0


async def test_closing_ends_every_wait_and_returns_what_was_unread() -> None:
    mailbox: Mailbox[str] = Mailbox(1)
    reader = asyncio.create_task(mailbox.get())
    await turns()
    await mailbox.put("read")
    assert await reader == "read"
    await mailbox.put("unread")
    senders = [asyncio.create_task(mailbox.put("never in")) for _ in range(3)]
    await turns()
    assert mailbox.close("it has stopped") == ("unread",)
    for sender in senders:
        with pytest.raises(Closed, match="it has stopped"):
            await sender
    with pytest.raises(Closed):
        mailbox.put_nowait("too late")
    with pytest.raises(Closed):
        await mailbox.put("too late")
    with pytest.raises(Closed):
        await mailbox.get()
    assert mailbox.close() == ()


async def test_closing_ends_the_wait_of_readers() -> None:
    mailbox: Mailbox[str] = Mailbox()
    readers = [asyncio.create_task(mailbox.get()) for _ in range(2)]
    await turns()
    mailbox.close()
    for reader in readers:
        with pytest.raises(Closed):
            await reader


async def test_a_cancelled_reader_hands_its_message_on() -> None:
    mailbox: Mailbox[str] = Mailbox()
    first, second = (asyncio.create_task(mailbox.get()) for _ in range(2))
    await turns()
    await mailbox.put("for anybody")
    first.cancel()
    assert await second == "for anybody"
    await asyncio.wait((first,))
    assert first.cancelled()


async def test_the_latest_value_takes_the_place_of_an_unread_one_and_never_waits() -> None:
    mailbox: Mailbox[Progress | str] = Mailbox(1)
    assert mailbox.put_nowait(Progress("a", 1))
    assert mailbox.put_nowait("ordinary")
    for done in range(2, 100):
        await mailbox.put(Progress("a", done))
    await mailbox.put(Progress("b", 1))
    assert not mailbox.put_nowait("no room")
    assert [await mailbox.get() for _ in range(3)] == [Progress("a", 99), "ordinary", Progress("b", 1)]
    await mailbox.put(Progress("a", 100))
    assert await mailbox.get() == Progress("a", 100), "a value that was read is not replaced"


def test_a_mailbox_without_room_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Mailbox(0)


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(1, 5))
def test_whatever_is_sent_by_patient_senders_arrives_once_and_in_order(numbers: list[int], capacity: int) -> None:
    async def check() -> None:
        mailbox: Mailbox[tuple[int, int]] = Mailbox(capacity)
        senders = [asyncio.create_task(mailbox.put((place, one))) for place, one in enumerate(numbers)]
        got = []
        for place, _ in enumerate(numbers):
            got.append(await mailbox.get())
            assert len(mailbox) <= capacity, place
        await asyncio.gather(*senders)
        assert got == list(enumerate(numbers))

    asyncio.run(check())
