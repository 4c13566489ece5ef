"""What rented hosts cost: by the second, a minute at least, and until it is known that they have ended."""

from __future__ import annotations

from dataclasses import dataclass

HOUR = 3600.0
LEAST = 60.0
"""Seconds that every host is billed for."""


@dataclass(frozen=True, slots=True)
class _Rent:
    start: float
    rate: float
    most_after: float

    def dollars(self, at: float) -> float:
        return max(at - self.start, LEAST) * self.rate


class Rents:
    """Adds up the rents of hosts; times in seconds."""

    def __init__(self) -> None:
        self._open: dict[str, _Rent] = {}
        self._over = 0.0

    def began(self, at: float, host: str, dollars_per_hour: float, most_after: float) -> None:
        """A host was started; left alone by everybody, it ends by itself within ``most_after`` seconds."""
        self._open.setdefault(host, _Rent(at, dollars_per_hour / HOUR, most_after))

    def ended(self, at: float, host: str) -> None:
        """A host was told to end, and will."""
        rent = self._open.pop(host, None)
        if rent is not None:
            self._over += rent.dollars(at)

    def lost(self, at: float, host: str) -> None:
        """Nobody knows whether a host has been told to end: it is paid until it ends by itself."""
        if host in self._open:
            self.ended(at + self._open[host].most_after, host)

    def dollars(self, at: float) -> float:
        """What was spent until ``at``."""
        return self._over + sum(rent.dollars(at) for rent in self._open.values())

    @property
    def rate(self) -> float:
        """Dollars for a second, now."""
        return sum(rent.rate for rent in self._open.values())

    @property
    def committed(self) -> float:
        """Dollars that hosts can come to if nobody ends them."""
        return sum(rent.rate * rent.most_after for rent in self._open.values())
