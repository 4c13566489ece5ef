"""Who holds a run: one driver at a time, for as long as it is heard of.

Each taking raises the run's epoch; whatever was signed or written under an older one counts no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cirrus.errors import Conflict, NotFound, RunBusy
from cirrus.store.base import ObjectStore
from cirrus.store.fields import Fields, to_json

PATIENCE = 30.0
"""Seconds of silence after which a holder is taken for dead."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has cost under its earlier drivers."""

    dollars: float = 0.0
    worker_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Record:
    epoch: int
    holder: str
    heard: float
    state: str
    spent: Spent

    def encoded(self) -> bytes:
        return to_json(
            {
                "epoch": self.epoch, "holder": self.holder, "heard": f"{self.heard:.3f}", "state": self.state,
                "dollars": f"{self.spent.dollars:.9f}", "worker_seconds": f"{self.spent.worker_seconds:.3f}",
            }
        )


class Holding:
    """A run that is held; made by ``take``. ``epoch`` is its epoch, ``spent`` what it had cost before."""

    def __init__(self, store: ObjectStore, run_id: str, record: _Record, etag: str) -> None:
        self._store = store
        self._run_id = run_id
        self._record = record
        self._etag = etag
        self.spent = record.spent

    @property
    def epoch(self) -> int:
        """How many drivers have held the run, this one included."""
        return self._record.epoch

    @classmethod
    async def take(
        cls, store: ObjectStore, run_id: str, holder: str, now: float, gone: Callable[[str], bool] = lambda _: False
    ) -> Holding:
        """Hold the run as ``holder``, which must name this driver alone; ``RunBusy`` where another is alive.

        ``now`` is in seconds since the Unix epoch. ``gone`` may know of a holder that it is dead for sure.
        """
        key = _key(run_id)
        try:
            info = await store.info(key)
        except NotFound:
            record = _Record(1, holder, now, "held", Spent())
            try:
                return cls(store, run_id, record, await store.put_if_absent(key, record.encoded()))
            except Conflict as error:
                raise await _busy(store, run_id, now) from error
        found = _decoded(key, await store.get(key))
        if found.state == "held" and now - found.heard < PATIENCE and not gone(found.holder):
            raise RunBusy(run_id, found.holder, now - found.heard)
        record = _Record(found.epoch + 1, holder, now, "held", found.spent)
        try:
            return cls(store, run_id, record, await store.replace_if(key, record.encoded(), info.etag))
        except Conflict as error:
            raise await _busy(store, run_id, now) from error

    async def renew(self, now: float, spent: Spent) -> None:
        """Say that this driver lives; ``RunBusy`` where another has taken the run."""
        await self._write(_Record(self.epoch, self._record.holder, now, "held", spent), now)

    async def release(self, now: float, spent: Spent) -> None:
        """Let go of the run, so that another may take it at once."""
        await self._write(_Record(self.epoch, self._record.holder, now, "free", spent), now)

    async def _write(self, record: _Record, now: float) -> None:
        key = _key(self._run_id)
        try:
            self._etag = await self._store.replace_if(key, record.encoded(), self._etag)
        except Conflict as error:
            etag = (await self._store.info(key)).etag
            found = _decoded(key, await self._store.get(key))
            if (found.epoch, found.holder) != (self.epoch, self._record.holder):
                raise await _busy(self._store, self._run_id, now) from error
            # A write of ours got through whose answer did not: nobody else writes under our epoch.
            self._etag = await self._store.replace_if(key, record.encoded(), etag)
        self._record = record


async def state_of(
    store: ObjectStore, run_id: str, now: float, gone: Callable[[str], bool] = lambda _: False
) -> Literal["running", "parked"]:
    """Whether a driver has the run, or nobody any more; ``gone`` may know of a holder that it is dead for sure."""
    try:
        found = _decoded(_key(run_id), await store.get(_key(run_id)))
    except NotFound:
        return "parked"
    held = found.state == "held" and now - found.heard < PATIENCE and not gone(found.holder)
    return "running" if held else "parked"


async def _busy(store: ObjectStore, run_id: str, now: float) -> RunBusy:
    found = _decoded(_key(run_id), await store.get(_key(run_id)))
    return RunBusy(run_id, found.holder, max(0.0, now - found.heard))


def _key(run_id: str) -> str:
    return f"runs/{run_id}/holder.json"


def _decoded(key: str, data: bytes) -> _Record:
    fields = Fields.parsed(key, data)
    fields.only("epoch", "holder", "heard", "state", "dollars", "worker_seconds")
    try:
        spent = Spent(float(fields.text("dollars")), float(fields.text("worker_seconds")))
        heard = float(fields.text("heard"))
    except ValueError as error:
        raise fields.wrong("heard, dollars or worker_seconds", "is not a number") from error
    return _Record(fields.whole("epoch"), fields.text("holder"), heard, fields.text("state"), spent)
