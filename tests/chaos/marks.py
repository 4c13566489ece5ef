"""Marks in the environment, by which a test finds everything that came of a driver."""

from __future__ import annotations

import contextlib

import psutil

MARK = "CIRRUS_TEST_MARK"


def marked(mark: str) -> list[int]:
    """The living processes that bear the mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(process.pid)
    return found
