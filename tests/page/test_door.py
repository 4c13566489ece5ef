"""Who gets in: with a code once, with the token always, and not by trying."""

from __future__ import annotations

import pytest

from cirrus.errors import PipelineError
from cirrus.page import door as doors
from cirrus.page.door import Door
from cirrus.page.guard import host_of
from cirrus.testing.clock import ManualClock

TOKEN = "a-token-of-some-length"


def test_a_code_opens_once_and_a_token_always() -> None:
    door = Door(ManualClock(), TOKEN)
    code = door.code()
    first, second = door.enter(code), door.enter(code)
    assert first is not None
    assert second is None
    cookies = {entered[0] for entered in (first, door.enter(TOKEN), door.enter(TOKEN)) if entered}
    assert len(cookies) == 3
    assert {door.session(cookie) for cookie in cookies} > {first[1]}
    assert door.session("") is door.session(first[1]) is door.session(TOKEN) is None


def test_without_a_token_nothing_opens_but_codes() -> None:
    door = Door(ManualClock(), None)
    assert [door.enter(secret) for secret in ("", "None", "\udcff")] == [None] * 3


async def test_wrong_tries_are_slowed_down() -> None:
    clock = ManualClock()
    door = Door(clock, TOKEN)
    for _ in range(doors.TRIES):
        assert not door.waits
        assert door.enter("wrong") is None
    assert door.waits
    await clock.advance(doors.REST)
    assert not door.waits
    assert door.enter("wrong") is None
    assert door.waits


def test_codes_and_sessions_are_bounded() -> None:
    door = Door(ManualClock(), TOKEN)
    oldest = door.code()
    for _ in range(doors.CODES):
        door.code()
    assert door.enter(oldest) is None
    first = door.enter(TOKEN)
    assert first is not None
    for _ in range(doors.SESSIONS):
        door.enter(TOKEN)
    assert door.session(first[0]) is None


@pytest.mark.parametrize("token", ["", "short", "x" * (doors.SHORTEST - 1)])
def test_a_token_that_is_no_secret_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(PipelineError) as raised:
        Door(ManualClock(), token)
    assert not token or token not in str(raised.value)


@pytest.mark.parametrize(
    ("netloc", "host"),
    [
        ("127.0.0.1:80", "127.0.0.1"), ("LocalHost", "localhost"), ("[::1]:9", "::1"), ("a.b:1", "a.b"), ("", None),
        ("a@localhost", None), ("localhost/x", None), ("localhost:x", None), ("localhost?q", None), ("[::1", None),
    ],
)  # fmt: skip
def test_a_host_is_taken_apart(netloc: str, host: str | None) -> None:
    assert host_of(netloc) == host
