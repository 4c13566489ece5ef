"""Who may look at a page and give orders: one-time codes and a token open it, a cookie keeps it open.

Secrets are kept as their SHA-256, and compared in constant time. A few wrong tries are free; then they are slowed down.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from hashlib import sha256
from hmac import compare_digest

from cirrus import checks
from cirrus.clock import Clock
from cirrus.errors import PipelineError

TRIES = 10
"""Wrong tries in a row; after them one more every ``REST`` seconds."""

REST = 6.0
CODES = 64
SESSIONS = 1024
"""So many are kept; the oldest are forgotten."""

SHORTEST = 16
"""Characters of a token that somebody chose."""


def _digest(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Door:
    """The sessions of a page. ``token`` opens it any number of times, a code of ``code`` once."""

    def __init__(self, clock: Clock, token: str | None) -> None:
        """``PipelineError`` where the token is too short to be a secret."""
        if token is not None:
            checks.text("token", token)
            if len(token) < SHORTEST:
                raise PipelineError("token", "***", f"at least {SHORTEST} characters, such as secrets.token_urlsafe()")
        self.cookie = f"cirrus-{secrets.token_hex(6)}"  # pages on other ports of this host share the browser's jar
        self._clock = clock
        self._token = None if token is None else _digest(token)
        self._codes: OrderedDict[bytes, None] = OrderedDict()
        self._sessions: OrderedDict[bytes, str] = OrderedDict()
        self._tries = float(TRIES)
        self._counted = clock.monotonic()

    def code(self) -> str:
        """A new code, good for one session."""
        code = secrets.token_urlsafe(24)
        self._codes[_digest(code)] = None
        while len(self._codes) > CODES:
            self._codes.popitem(last=False)
        return code

    @property
    def waits(self) -> bool:
        """Whether there were too many wrong tries for another one now."""
        now = self._clock.monotonic()
        self._tries = min(float(TRIES), self._tries + (now - self._counted) / REST)
        self._counted = now
        return self._tries < 1.0

    def enter(self, secret: str) -> tuple[str, str] | None:
        """A new session for the token, or for a code that is used up with it: its cookie, and what its orders carry."""
        given = _digest(secret)
        known = [*self._codes, *([] if self._token is None else [self._token])]
        found = [one for one in known if compare_digest(one, given)]
        if not found:
            self._tries -= 1.0
            return None
        self._codes.pop(given, None)
        cookie, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = csrf
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return cookie, csrf

    def knows(self, token: str) -> bool:
        """Whether that is the token, and there were not too many wrong tries; for who cannot keep a session."""
        if self._token is None or self.waits:
            return False
        found = compare_digest(_digest(token), self._token)
        self._tries -= not found
        return found

    def session(self, cookie: str) -> str | None:
        """What the orders of the cookie's session carry; ``None`` where there is no such session."""
        return self._sessions.get(_digest(cookie))  # a digest tells nothing of what is near it
