"""Bring what is there to what should be there, or remove it; a look first, so that what is right is left alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cirrus.deploy.deployment import MARK
from cirrus.deploy.things import Thing
from cirrus.errors import PipelineError

Action = Literal["create", "set", "remove", "keep"]


@dataclass(frozen=True, slots=True)
class Change:
    """What was done, or would be, to which thing; ``detail`` is the setting, or why a thing is kept."""

    action: Action
    thing: str
    detail: str = ""


async def check_free(things: Sequence[Thing], mark: str) -> None:
    """``PipelineError`` for the first of them that somebody else has made; before anything is changed."""
    for thing in things:
        tags = await thing.tags()
        if tags is not None and tags.get(MARK) != mark:
            allowed = f"a name that is free, or what cirrus deploy has made for {mark!r}: it is tagged {MARK}={mark}"
            raise PipelineError("deploy", thing.title, allowed)


async def bring(things: Sequence[Thing], *, dry: bool) -> AsyncIterator[Change]:
    """Make what is missing and set what differs, in the order of the things; each change is told when it is done.

    ``dry``: only tell. What is set with the creation of a thing is not told by itself.
    """
    for thing in things:
        fresh = await thing.tags() is None
        if fresh:
            if not dry:
                await thing.create()
            yield Change("create", thing.title)
        for aspect in thing.aspects:
            right = aspect.born if fresh else await aspect.read() == aspect.wanted
            if not right:
                if not dry:
                    await aspect.write()
                yield Change("set", thing.title, aspect.name)


async def remove(things: Sequence[Thing], mark: str, *, dry: bool) -> AsyncIterator[Change]:
    """Remove those that were made for ``mark``, in the order of the things; what others have made is kept."""
    for thing in things:
        tags = await thing.tags()
        if tags is None:
            continue
        if tags.get(MARK) != mark:
            yield Change("keep", thing.title, f"not made by cirrus deploy for {mark}")
        elif reason := await thing.kept():
            yield Change("keep", thing.title, reason)
        else:
            if not dry:
                await thing.remove()
            yield Change("remove", thing.title)
