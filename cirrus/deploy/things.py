"""What can be there or not, and how it may differ from what it should be: the port that ``deploy`` works through."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Aspect:
    """One setting of a thing: what it should be, how to look and how to set it.

    ``read`` returns ``None`` where nothing is set. ``born``: whether a new thing has it right already.
    """

    name: str
    wanted: object
    read: Callable[[], Awaitable[object]]
    write: Callable[[], Awaitable[object]]
    born: bool = True


class Thing(Protocol):
    """Something in an account that has a name and tags."""

    @property
    def title(self) -> str:
        """What and who it is, for people."""
        ...

    @property
    def aspects(self) -> tuple[Aspect, ...]:
        """Its settings, in the order in which they are to be set."""
        ...

    async def tags(self) -> Mapping[str, str] | None:
        """Its tags; ``None`` where there is no such thing."""
        ...

    async def create(self) -> None:
        """Make it, with its tags."""
        ...

    async def kept(self) -> str:
        """Why it is not to be removed; an empty text where nothing is in the way."""
        ...

    async def remove(self) -> None:
        """Remove it."""
        ...


def canonical(document: object) -> object:
    """A policy in a form in which two that mean the same are equal: services give lists of one as what is in them."""
    match document:
        case dict():
            return {name: canonical(value) for name, value in document.items()}
        case list() | tuple():
            found = sorted((canonical(one) for one in document), key=lambda one: json.dumps(one, sort_keys=True))
            return found[0] if len(found) == 1 else found
        case _:
            return document


def part(found: Mapping[str, object] | None, wanted: Mapping[str, object]) -> dict[str, object]:
    """Of what was found, that which is wanted."""
    return {name: found[name] for name in wanted if name in found} if found else {}


def pairs(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as most services take them."""
    return [{"Key": name, "Value": value} for name, value in tags.items()]


def unpaired(tags: list[dict[str, str]]) -> dict[str, str]:
    """Tags as most services give them."""
    return {one["Key"]: one["Value"] for one in tags}
