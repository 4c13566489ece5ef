"""How long requests to a store are tried again before their failure is believed."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from cirrus.clock import Clock, SystemClock
from cirrus.core.restarts import Backoff

BACKOFF = Backoff(first=0.1, factor=2.0, most=5.0)


@dataclass(frozen=True, slots=True)
class Patience:
    """A request is repeated for ``seconds``, or ``unanswered`` seconds where the server has never answered yet.

    ``silence`` is how many seconds a server may say nothing within a request. Pauses grow from 0.1 to 5 seconds;
    ``chance`` draws from [0, 1) how much each is shortened, so that those that failed together do not return together.
    """

    seconds: float = 60.0
    unanswered: float = 15.0
    silence: float = 20.0
    clock: Clock = field(default_factory=SystemClock)
    chance: Callable[[], float] = field(default_factory=lambda: secrets.SystemRandom().random)

    def pause(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row, from 1."""
        return BACKOFF.delay(failures, self.chance())
