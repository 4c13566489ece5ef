"""What was said over a line that may break: kept until the other side has taken it in, and said again on the next line.

Both sides count. On each new line each says first how much it has taken in of all that the other ever said; so whatever
the old line lost is said once more, and nothing is taken in twice.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Spoken(Generic[T]):
    """One side's words, in their order; at most ``most`` of them are under way at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: deque[T] = deque()  # that may not have been taken in
        self._waiting: deque[T] = deque()
        self._taken = 0

    def say(self, word: T) -> None:
        """Keep a new word until its turn comes."""
        self._waiting.append(word)

    def taken(self, count: int) -> None:
        """Forget the first ``count`` words of all: the other side has them."""
        while self._taken < count and (words := self._under_way or self._waiting):
            words.popleft()
            self._taken += 1

    def new_line(self) -> None:
        """What was under way is lost, and has to be sent again unless it was taken in."""
        self._waiting.extendleft(reversed(self._under_way))
        self._under_way.clear()

    def due(self) -> tuple[T, ...]:
        """What is to be sent now; each word once on each line."""
        room = min(self._most - len(self._under_way), len(self._waiting))
        words = tuple([self._waiting.popleft() for _ in range(room)])
        self._under_way.extend(words)
        return words
