"""When a worker leaves that its provider will end: so much earlier that it can hand back what it holds."""

from __future__ import annotations

from typing import Final

NEARLY: Final = "its time is nearly up"

SHARE = 0.05
LEAST, MOST = 0.5, 10.0


def margin(timeout: float) -> float:
    """Seconds before its ``timeout`` at which a worker leaves; never more than a quarter of it."""
    return min(max(LEAST, SHARE * timeout), MOST, timeout / 4)
