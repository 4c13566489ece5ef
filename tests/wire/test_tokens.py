"""Tokens: exactly what was issued is accepted, until it expires."""

import base64
import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.errors import Refused
from cirrus.wire import tokens
from cirrus.wire.tokens import Claims, issue, verify

KEY = b"k" * 32
CLAIMS = Claims(run="clicks-1", epoch=2, role="worker", pool="train", slot=3, attempt=4, expiry=1000.0)


def signed(claims: object) -> str:
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{body}.{tokens._sign(KEY, body)}"


@given(
    st.builds(
        Claims,
        run=st.text(max_size=30),
        epoch=st.integers(0, 2**40),
        role=st.sampled_from(["worker", "driver", "viewer"]),
        pool=st.text(max_size=30),
        slot=st.integers(0, 10_000),
        attempt=st.integers(0, 10_000),
        expiry=st.floats(1, 1e12),
    )
)
def test_claims_come_back_as_they_went(claims: Claims) -> None:
    token = issue(KEY, claims)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert verify(KEY, token, 0.0) == claims


def test_tokens_expire_with_leeway() -> None:
    token = issue(KEY, CLAIMS)
    assert verify(KEY, token, 1300.0) == CLAIMS
    assert verify(KEY, token, 1010.0, leeway=10.0) == CLAIMS
    for late in (1300.1, float("nan"), float("inf")):
        with pytest.raises(Refused):
            verify(KEY, token, late)


def test_every_changed_character_is_refused() -> None:
    token = issue(KEY, CLAIMS)
    for at, old in enumerate(token):
        # The last character of each base64 part carries unused bits, so the text is compared, not the bytes.
        for new in "A.b_~\n\N{SNOWMAN}":
            if new != old:
                with pytest.raises(Refused):
                    verify(KEY, token[:at] + new + token[at + 1 :], 0.0)
    for end in range(len(token)):
        with pytest.raises(Refused):
            verify(KEY, token[:end], 0.0)


@pytest.mark.parametrize("field", [one.name for one in fields(Claims)])
def test_every_changed_claim_is_refused(field: str) -> None:
    other: dict[str, Any] = {
        "run": "b",
        "epoch": 9,
        "role": "driver",
        "pool": "b",
        "slot": 9,
        "attempt": 9,
        "expiry": 9e9,
    }
    body = issue(b"other", replace(CLAIMS, **{field: other[field]})).split(".")[0]
    signature = issue(KEY, CLAIMS).split(".")[1]
    with pytest.raises(Refused):
        verify(KEY, f"{body}.{signature}", 0.0)


def test_another_key_is_refused() -> None:
    with pytest.raises(Refused):
        verify(b"other", issue(KEY, CLAIMS), 0.0)


@pytest.mark.parametrize(
    "claims",
    [
        [],
        {},
        "text",
        None,
        {**asdict(CLAIMS), "role": "king"},
        {**asdict(CLAIMS), "role": []},
        {**asdict(CLAIMS), "epoch": True},
        {**asdict(CLAIMS), "slot": 1.5},
        {**asdict(CLAIMS), "expiry": "never"},
        {**asdict(CLAIMS), "expiry": float("nan")},
        {**asdict(CLAIMS), "run": 1},
        {**asdict(CLAIMS), "more": 1},
    ],
)
def test_signed_nonsense_is_refused(claims: object) -> None:
    with pytest.raises(Refused):
        verify(KEY, signed(claims), 0.0)


@pytest.mark.parametrize("token", ["", ".", "a", "a.b", "." * 10_000, "é.é", "\0"])
def test_refusals_say_the_same(token: str) -> None:
    with pytest.raises(Refused, match=r"^the token is not accepted$"):
        verify(KEY, token, 0.0)


def test_the_key_is_not_in_the_refusal() -> None:
    with pytest.raises(Refused) as caught:
        verify(b"canary-secret", issue(KEY, CLAIMS), 0.0)
    assert "canary" not in repr(caught.value) + repr(caught.value.__cause__)
