"""The trials of a run that go on now, for those who order one of them to end."""

from __future__ import annotations

from cirrus.actors.mailbox import Mailbox
from cirrus.actors.scheduler import Abandon, Heard


class Trials:
    """Those of one stage at a time. ``settled``: how trials are to end of which that is written down already."""

    def __init__(self) -> None:
        self.stage = ""
        self.settled: dict[int, Abandon] = {}
        self._mailboxes: dict[int, Mailbox[Heard]] = {}

    @property
    def living(self) -> tuple[int, ...]:
        """The numbers of those that go on, and that nobody has ordered to end."""
        return tuple(number for number in sorted(self._mailboxes) if number not in self.settled)

    def enter(self, stage: str) -> None:
        """A stage begins: whatever is known is of another."""
        self.stage = stage
        self.settled.clear()
        self._mailboxes.clear()

    def began(self, number: int, mailbox: Mailbox[Heard]) -> None:
        """A trial goes on, and hears in that mailbox."""
        self._mailboxes[number] = mailbox

    def over(self, number: int) -> None:
        """A trial has ended."""
        self._mailboxes.pop(number, None)

    def end(self, number: int, how: Abandon) -> None:
        """It is written down that a trial ends so: tell it."""
        self.settled[number] = how
        mailbox = self._mailboxes.get(number)
        if mailbox is not None:
            mailbox.put_nowait(how)
