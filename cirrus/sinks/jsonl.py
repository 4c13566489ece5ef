"""``cirrus.jsonl``: what a run says as lines of JSON in a file, those that its log in the store has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cirrus.actors.kernel import Kernel
from cirrus.errors import WireError
from cirrus.events import Event
from cirrus.sinks.appended import Appended
from cirrus.sinks.base import Outlet, Writer
from cirrus.sinks.written import Written

if TYPE_CHECKING:
    from cirrus.actors.event_log import Line
    from cirrus.wire.codec import Codec


@dataclass(frozen=True, slots=True)
class Jsonl:
    """A file of lines of JSON."""

    path: Path

    @property
    def name(self) -> str:
        return f"jsonl({str(self.path)!r})"

    def outlet(self, kernel: Kernel) -> Outlet:
        return Written(kernel, "jsonl", self._open)

    def _open(self) -> Writer:
        from cirrus.actors.event_log import LINES  # noqa: PLC0415  too heavy for a loop

        return _Lines(self.path, LINES)


class _Lines:
    def __init__(self, path: Path, codec: Codec[Line]) -> None:
        self._file = Appended(path)
        self._codec = codec
        self._number = 0

    def take(self, event: Event) -> None:
        from cirrus.actors.event_log import Line  # noqa: PLC0415  loaded with the codec

        try:
            text = self._codec.to_json(Line(self._number, event))
        except WireError as error:
            raise ValueError(str(error)) from error
        self._file.add(text.encode() + b"\n")
        self._number += 1

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def jsonl(path: str | os.PathLike[str]) -> Jsonl:
    """A sink: each event one line of JSON, ``{"number":0,"event":{"type":"RunStarted",...}}``, as soon as it happens.

    They are the lines of the run's log in its store. A file that is there already goes on; its folder has to exist.
    """
    return Jsonl(Path(path))
