"""A file that grows by whole pieces, also where a write fails in the middle of one."""

from __future__ import annotations

from pathlib import Path


class Appended:
    """What was added is written by ``flush``; where that fails, it writes the rest the next time."""

    def __init__(self, path: Path) -> None:
        """Open the file, which may have something in it already; ``OSError``."""
        self._file = path.open("ab", buffering=0)
        self._rest = bytearray()

    def add(self, data: bytes) -> None:
        """Keep it until ``flush``."""
        self._rest += data

    def flush(self) -> None:
        """Write what was added; ``OSError``."""
        while self._rest:
            del self._rest[: self._file.write(self._rest)]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
