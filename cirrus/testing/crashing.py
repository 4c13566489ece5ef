"""A store whose user dies at a certain write, before or after it takes effect: for trying every such moment."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Literal, NoReturn

from cirrus.store.base import ObjectStore
from cirrus.testing.stores import MeddledStore, Request

When = Literal["before", "after"]


class Crashed(BaseException):
    """The process is to be taken for dead; no program catches this by mistake."""


def fall() -> NoReturn:
    """Die for the rest of the program alone: this process must not be killed, for it is the test's own."""
    raise Crashed


def kill() -> NoReturn:
    """Die truly, as by SIGKILL: nothing is closed, nobody is told."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process does not outlive SIGKILL")


class CrashingStore(MeddledStore):
    """Counts writes, deletions among them, and dies at the ``at``-th, from 1, ``before`` or ``after`` it takes effect.

    With ``at=0`` it only counts: ``writes`` says how many moments there are. Whoever has died asks for nothing more:
    after ``Crashed`` every request raises it again, so that tidying up changes nothing either. Others open the true
    store by its URL, and live: with ``cirrus.testing.places.Troubled(folder, meddle=...)`` only the driver dies.
    """

    def __init__(
        self, inner: ObjectStore, at: int = 0, when: When = "before", die: Callable[[], NoReturn] = fall
    ) -> None:
        super().__init__(inner, self._begun, self._done)
        self.writes = 0
        self._at = at
        self._when = when
        self._die = die
        self._dead = False

    async def _begun(self, request: Request) -> None:
        if self._dead:
            self._die()
        if request.writes:
            self.writes += 1
            self._reach(request, "before")

    async def _done(self, request: Request) -> None:
        if self._dead:  # it died while this was under way
            self._die()
        if request.writes:
            self._reach(request, "after")

    def _reach(self, request: Request, when: When) -> None:
        if request.write == self._at and when == self._when:
            self._dead = True
            self._die()
