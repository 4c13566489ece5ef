"""A viewer as the page is one: takes messages in, whole states and what changed, and remembers the id of the last."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream."""

    id: str
    kind: str
    data: str

    @property
    def document(self) -> dict[str, Any]:
        found = json.loads(self.data)
        assert isinstance(found, dict)
        return found


def messages(stream: bytes) -> Iterator[Message]:
    """The messages that are complete in these bytes of a stream; comments and beats are left out."""
    *whole, _ = stream.split(b"\n\n")
    for one in whole:
        fields = dict(line.split(": ", 1) for line in one.decode().split("\n") if ": " in line and line[0] != ":")
        if "id" in fields:
            yield Message(fields["id"], fields["event"], fields["data"])


@dataclass
class Viewer:
    """What a page knows."""

    last: str = ""
    series: dict[str, list[list[float | None]]] = field(default_factory=dict)
    log: list[int] = field(default_factory=list)
    trials: dict[str, dict[str, Any]] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    wholes: int = 0

    def take(self, stream: bytes) -> None:
        """Take in what came of a stream until it was cut."""
        for message in messages(stream):
            self.hear(message)

    def hear(self, message: Message) -> None:
        """Take in one message."""
        self.last = message.id
        news = message.document
        if message.kind == "whole":
            self.wholes += 1
            self.series, self.log, self.trials = {}, [], {}
        self.series |= news.get("set", {})
        for key, rows in news.get("add", {}).items():
            self.series.setdefault(key, []).extend(rows)
        self.log += [line["n"] for line in news.get("log", [])]
        self.trials |= {trial["key"]: trial for trial in news.get("trials", [])}
        self.state |= {name: news[name] for name in ("run", "use", "stages") if name in news}
