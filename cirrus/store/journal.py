"""The journal of a run: every decision as an object of its own, written before its effect is visible.

Entries are numbered and created only once, so two drivers cannot both write the next one: who loses to a later driver
does not hold the run any more. A driver that takes a run over begins with an entry of its own, behind which no earlier
driver can write.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cirrus.errors import Conflict, RunBusy
from cirrus.store.base import ObjectStore
from cirrus.store.fields import JSON, Fields, to_json


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision: what kind, and its particulars."""

    kind: str
    fields: Mapping[str, JSON]


class Journal:
    """Reads and writes the journal of one run; ``epoch`` is the epoch of the driver that writes."""

    def __init__(self, store: ObjectStore, run_id: str, epoch: int) -> None:
        self._store = store
        self._run_id = run_id
        self._epoch = epoch
        self._next = 0

    async def read(self) -> tuple[Entry, ...]:
        """Every entry, from the first; what is appended afterwards comes behind the last of them.

        ``RunBusy`` where a later driver has written some already.
        """
        entries = []
        async for info in self._store.list(self._prefix):
            fields = Fields.parsed(info.key, await self._store.get(info.key))
            fields.only("kind", "epoch", "nonce", "fields")
            self._check(fields)
            entries.append(Entry(fields.text("kind"), fields.mapping("fields")))
            self._next = int(info.key.removeprefix(self._prefix).removesuffix(".json")) + 1
        return tuple(entries)

    async def take_over(self) -> tuple[Entry, ...]:
        """Write that this driver has the run now, and read everything before; no earlier driver writes any more."""
        await self.read()
        await self.append("taken", {})
        return await self.read()

    async def append(self, kind: str, fields: Mapping[str, JSON]) -> int:
        """Make a decision durable and return its place; ``RunBusy`` where another driver has gone on with the run.

        Entries have no gaps, or an earlier driver could write behind a later one's first: the place of one whose
        writing failed is the next one's.
        """
        document = to_json({"kind": kind, "epoch": self._epoch, "nonce": secrets.token_hex(8), "fields": fields})
        while True:
            place = self._next
            written = await self._written(f"{self._prefix}{place:08d}.json", document)
            self._next = max(self._next, place + 1)  # others may write meanwhile
            if written:
                return place

    async def _written(self, key: str, document: bytes) -> bool:
        """Write an entry, and say whether it is there: its place may be taken."""
        try:
            await self._store.put_if_absent(key, document)
        except Conflict as error:
            found = await self._store.get(key)
            if found == document:  # our own write, whose answer was lost
                return True
            self._check(Fields.parsed(key, found), error)
            return False
        return True

    def _check(self, fields: Fields, cause: Conflict | None = None) -> None:
        """``RunBusy`` where an entry is of a later driver."""
        if fields.whole("epoch") > self._epoch:
            raise RunBusy(self._run_id, "another driver, which has gone on with it", 0.0) from cause

    @property
    def _prefix(self) -> str:
        return f"runs/{self._run_id}/journal/"
