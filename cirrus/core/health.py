"""How a pool takes failures: how long a slot rests after one, and when there is no point in going on."""

from __future__ import annotations

from dataclasses import dataclass

from cirrus.core.restarts import Alike, RestartBudget, spread
from cirrus.core.slots import Cause, GiveUp, Leave, PoolPolicy


@dataclass(frozen=True, slots=True)
class Death:
    """A worker of ``slot`` ended badly at ``at`` after it had lived ``lived`` seconds.

    ``asked``: when it was asked for, if it never spoke.
    """

    at: float
    slot: int
    cause: Cause | Leave
    detail: str
    lived: float
    asked: float | None

    @property
    def text(self) -> str:
        """The cause and the detail in one line."""
        return f"{self.cause}: {self.detail}" if self.detail else self.cause


class Health:
    """Remembers failures; each answer is a pause in seconds, or ``GiveUp`` with the reason and the evidence."""

    def __init__(self, policy: PoolPolicy) -> None:
        self._policy = policy
        self._budget = RestartBudget(policy.restarts, policy.window)
        self._alike = Alike(policy.forget)
        self._silent = Alike(policy.forget)
        self._newest_sight = float("-inf")
        self._streaks: dict[int, int] = {}  # short-lived workers in a row
        self._starved: set[int] = set()  # slots whose last worker ran out of memory

    def scaled(self, workers: int) -> None:
        """The pool's wish has changed, and its restart budget with it."""
        self._budget.most = max(self._policy.restarts, self._policy.restarts_per_worker * workers)

    def seen(self, at: float) -> None:
        """A worker has spoken for the first time: whatever kept others from it before is no rule."""
        self._newest_sight = at
        self._silent = Alike(self._policy.forget)

    def left(self, slot: int, lived: float) -> float | GiveUp:
        """A worker ended cleanly; it costs nothing, but those that leave as soon as they come have to wait."""
        self._starved.discard(slot)
        return self._pause(slot, lived, "left at once")

    def refused(self, at: float, slot: int, reason: str) -> float | GiveUp:
        """The provider will not start a worker."""
        return self._repeated(self._alike, at, reason) or self.unreachable(slot, reason)

    def unreachable(self, slot: int, reason: str) -> float | GiveUp:
        """The provider could not be asked for a worker."""
        return self._pause(slot, 0.0, reason)

    def died(self, death: Death) -> float | GiveUp:
        """A worker ended badly."""
        if death.cause != "memory":
            self._starved.discard(death.slot)
        elif death.slot in self._starved:
            reason = f"two workers in a row ran out of memory in slot {death.slot}; give the stage more memory"
            return GiveUp(reason, death.detail)
        else:
            self._starved.add(death.slot)
        # A worker's own exception counts whenever it comes; silence only where no other worker has come up since, for
        # a few of many requests may well be lost on the way.
        silent = death.asked is not None and self._newest_sight < death.asked
        ended = None
        if death.cause == "failed" or silent:
            ended = self._repeated(self._alike if death.cause == "failed" else self._silent, death.at, death.text)
        if ended is None and not self._budget.spend(death.at):
            many = f"more than {self._budget.most} workers had to be replaced within {self._policy.window:g} s"
            ended = GiveUp(many, death.text)
        return ended or self._pause(death.slot, death.lived, death.text)

    def _repeated(self, alike: Alike, at: float, text: str) -> GiveUp | None:
        if alike.add(at, text) < self._policy.alike:
            return None
        return GiveUp(f"{self._policy.alike} workers in a row failed in the same way", text)

    def _pause(self, slot: int, lived: float, text: str) -> float | GiveUp:
        if lived >= self._policy.settled:
            self._streaks.pop(slot, None)
            return 0.0
        streak = self._streaks[slot] = self._streaks.get(slot, 0) + 1
        if streak >= self._policy.streak:
            return GiveUp(f"{streak} workers in a row came to nothing in slot {slot}", text)
        if streak == 1:
            return 0.0
        return self._policy.backoff.delay(streak - 1, spread(slot + streak, self._policy.phase))
