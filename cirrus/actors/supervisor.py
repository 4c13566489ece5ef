"""What stands behind a reference: runs an actor, answers those who ask it, and makes it again when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cirrus import checks
from cirrus.actors.actor import Actor, Envelope, Promise, Ref, stopped_error
from cirrus.actors.mailbox import Mailbox
from cirrus.clock import Clock
from cirrus.core.restarts import RestartBudget
from cirrus.errors import CirrusError, Closed

M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How often an actor may be made again: ``most`` times within any ``within`` seconds."""

    most: int
    within: float

    def __post_init__(self) -> None:
        checks.integer("restarts.most", self.most, 0, 10**9)
        checks.positive("restarts.within", self.within)


NEVER = RestartPolicy(0, 1.0)


class Cell(Generic[M]):
    """One actor after the other behind one mailbox, until it is closed or the restarts are used up.

    Messages that wait in the mailbox survive a failure; the asks that the failed actor had taken get ``Closed``.
    """

    def __init__(
        self, ref: Ref[M], mailbox: Mailbox[Envelope[M]], factory: Callable[[], Actor[M]], restarts: RestartPolicy
    ) -> None:
        self.ref = ref
        self._mailbox = mailbox
        self._factory = factory
        self._budget = RestartBudget(restarts.most, restarts.within)
        self._asked: set[asyncio.Future[object]] = set()

    async def run(self, clock: Clock, failed: Callable[[Exception], None]) -> None:
        """Run until closed; ``failed`` hears of the failure that ends the cell, before those who asked do."""
        while True:
            try:
                await self._live(self._factory())
            except asyncio.CancelledError as error:
                if self._mailbox.closed:
                    raise
                failed(Closed(f"actor {self.ref.name!r} was cancelled by something that does not own it"))
                self._close_with(error)
                return
            except Exception as error:  # noqa: BLE001  the border to any actor's code
                if self._mailbox.closed or not self._budget.spend(clock.monotonic()):
                    failed(error)
                    self._close_with(error)
                    return
                self._refuse_asked(error)
            else:
                return

    def close(self) -> None:
        """Refuse all messages from now on, and end the wait of everybody who asked."""
        self._close_with(None)

    def _close_with(self, cause: BaseException | None) -> None:
        for envelope in self._mailbox.close(str(stopped_error(self.ref.name, cause))):
            envelope.refuse(stopped_error(self.ref.name, cause))
        self._refuse_asked(cause)

    def _refuse_asked(self, cause: BaseException | None) -> None:
        for reply in tuple(self._asked):
            if not reply.done():
                reply.set_exception(stopped_error(self.ref.name, cause))

    async def _live(self, actor: Actor[M]) -> None:
        """The whole life of one actor; ``stopped`` is called however it ends."""
        failure: BaseException | None = None
        try:
            await actor.started(self.ref)
            await self._receive_all(actor)
        except BaseException as error:
            failure = error
            raise
        finally:
            await self._put_away(actor, failure)

    async def _put_away(self, actor: Actor[M], failure: BaseException | None) -> None:
        try:
            await actor.stopped()
        except Exception as error:
            if failure is None or isinstance(failure, asyncio.CancelledError):
                raise
            failure.add_note(f"and then, while it stopped: {error!r}")

    async def _receive_all(self, actor: Actor[M]) -> None:
        while True:
            try:
                envelope = await self._mailbox.get()
            except Closed:
                return
            await self._handle(actor, envelope)

    async def _handle(self, actor: Actor[M], envelope: Envelope[M]) -> None:
        reply = envelope.reply
        if reply is None:
            await actor.receive(envelope.message)
            return
        self._asked.add(reply)
        reply.add_done_callback(self._asked.discard)
        try:
            answer = await actor.receive(envelope.message)
        except CirrusError as error:
            envelope.refuse(error)
            return
        if isinstance(answer, Promise):
            answer.attach(reply)
        elif not reply.done():
            reply.set_result(answer)
