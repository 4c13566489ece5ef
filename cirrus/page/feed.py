"""What viewers of a run are sent: its state once, and then what changed, as messages that all of them share.

A message has an id, the server's name and a number that rises by one. Who comes back with the id of the last one that
it saw gets exactly those after it, or the whole state, where they are not kept any more or another server wrote them.
"""

from __future__ import annotations

import json
from collections import deque
from itertools import islice

from cirrus.events import Event
from cirrus.page.sight import PageSight

KEPT = 256
"""Messages that are kept for those who come back."""

KEPT_BYTES = 4 * 2**20


class Feed:
    """Turns events into messages of server-sent events; ``server`` is a name that no other server has."""

    def __init__(self, server: str, run_id: str) -> None:
        self.sight = PageSight(run_id)
        self._server = server
        self._number = 0
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self._whole: bytes | None = None

    def take(self, event: Event) -> None:
        """Take in what happened; viewers hear of it with the next ``publish``."""
        self.sight.take(event)

    def publish(self) -> bool:
        """Make a message of what is new; whether there was anything."""
        news = self.sight.news()
        if not news:
            return False
        self._number += 1
        self._whole = None
        message = self._message("update", news)
        self._kept.append(message)
        self._bytes += len(message)
        while len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft())
        return True

    def since(self, last: str) -> tuple[bytes, str]:
        """What follows the message with the id ``last``, and the id to ask with next; empty where nothing does."""
        newest = f"{self._server}-{self._number}"
        seen = self._number_of(last)
        if seen is None or seen < self._number - len(self._kept):
            if self._whole is None:
                self._whole = self._message("whole", self.sight.whole())
            return self._whole, newest
        missed = self._number - seen
        return b"".join(islice(self._kept, len(self._kept) - missed, None)), newest

    def _number_of(self, last: str) -> int | None:
        server, _, digits = last.rpartition("-")
        if server != self._server or not (digits.isascii() and digits.isdigit() and len(digits) < 16):
            return None
        return int(digits) if int(digits) <= self._number else None

    def _message(self, kind: str, document: dict[str, object]) -> bytes:
        text = json.dumps(document, allow_nan=False, separators=(",", ":"))
        return f"id: {self._server}-{self._number}\nevent: {kind}\ndata: {text}\n\n".encode()
