"""Frames by compiled code, where there is some and it knows them, and otherwise by ``cirrus.wire.frames``.

What compiled code reads are spans instead of arrays: lists in the message that only compiled loops understand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

import numpy as np

from cirrus.native.choice import kernels
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Reply, Request, Status, Step

_STATUS: Final = tuple(Status)
_FLOAT: Final = np.dtype("<f4")
_KEY: Final = np.dtype("<u4")


class Framing:
    """Reads and writes frames, in the way that is chosen when it is made."""

    def __init__(self) -> None:
        self._compiled = kernels()
        self._quick_step: frames.Quick[Request] | None = None
        if self._compiled is not None:
            self._quick_step = partial(self._compiled.read_step, Step)
        self._quick_answer = None if self._compiled is None else self._read_answer

    def requests(self, message: bytes) -> Iterator[Request]:
        """As ``frames.requests``; steps about one table may have spans instead of arrays."""
        return frames.requests(message, self._quick_step)

    def replies(self, message: bytes) -> Iterator[Reply]:
        """As ``frames.replies``."""
        return frames.replies(message, self._quick_answer)

    def step(self, request: Step, widths: tuple[int, ...]) -> bytes:
        """As ``frames.encode_step``, for tables of those widths."""
        if self._compiled is None or len(request.tables) != 1:
            return frames.encode_step(request)
        step, (table,), gradients, keys = request
        gradient = None if gradients is None else np.ascontiguousarray(gradients[0], _FLOAT)
        wanted = None if keys is None else np.ascontiguousarray(keys[0], _KEY)
        return self._compiled.write_step(step, table, widths[0], gradient, wanted)

    def _read_answer(self, message: bytes, begin: int) -> tuple[int, Reply] | None:
        assert self._compiled is not None
        found = self._compiled.read_answer(message, begin)
        if found is None:
            return None
        end, status, step, clock, rows, width, start = found
        values = np.frombuffer(message, _FLOAT, rows * width, start).reshape(rows, width)
        return end, Answer(_STATUS[status], step, clock, (values,))
