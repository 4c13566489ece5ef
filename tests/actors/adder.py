"""An actor to test with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cirrus.actors.actor import Actor, Promise, Ref, Request


@dataclass(frozen=True, slots=True)
class Add(Request[int]):
    number: int


@dataclass(frozen=True, slots=True)
class Fail(Request[None]):
    error: Exception


@dataclass(frozen=True, slots=True)
class WhenTen(Request[str]):
    pass


@dataclass(frozen=True, slots=True)
class Block(Request[None]):
    pass


Message = Add | Fail | WhenTen | Block


class Adder(Actor[Message]):
    def __init__(self, log: list[str] | None = None, name: str = "adder") -> None:
        self.sum = 0
        self.ten: Promise[str] = Promise()
        self.log = [] if log is None else log
        self.name = name

    async def started(self, ref: Ref[Message]) -> None:  # noqa: ARG002  it needs no reference to itself
        self.log.append(f"{self.name} started")

    async def receive(self, message: Message) -> object:
        match message:
            case Add(number):
                self.sum += number
                if self.sum >= 10:
                    self.ten.keep("there")
                return self.sum
            case Fail(error):
                raise error
            case WhenTen():
                return self.ten
            case Block():
                await asyncio.Event().wait()
        return None

    async def stopped(self) -> None:
        self.log.append(f"{self.name} stopped")


async def forever(log: list[str] | None = None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        if log is not None:
            log.append("task ended")
