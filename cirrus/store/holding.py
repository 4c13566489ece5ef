"""Who holds a run: one driver at a time, for as long as it is heard of.

Each taking raises the run's epoch; whatever was signed or written under an older one counts no more.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

from cirrus.errors import Conflict, NotFound, RunBusy
from cirrus.store.base import ObjectStore
from cirrus.store.fields import Fields, to_json

PATIENCE = 30.0
"""Seconds of silence after which a holder is taken for dead."""

LOOK = 12.0
"""Seconds for which a holder that seems to be dead is watched before it is taken for it: its clock may be wrong."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has cost under its drivers up to now, and what workers that go on may add to that at most."""

    dollars: float = 0.0
    worker_seconds: float = 0.0
    committed_dollars: float = 0.0
    committed_seconds: float = 0.0

    @property
    def at_most(self) -> Spent:
        """What it comes to where nobody knows how those workers have ended."""
        return Spent(self.dollars + self.committed_dollars, self.worker_seconds + self.committed_seconds)


_FIGURES = tuple(one.name for one in fields(Spent))


@dataclass(frozen=True, slots=True)
class _Record:
    nonce: str
    epoch: int
    holder: str
    heard: float
    state: str
    spent: Spent

    def encoded(self) -> bytes:
        return to_json(
            {
                "nonce": self.nonce, "epoch": self.epoch, "holder": self.holder,
                "heard": f"{self.heard:.3f}", "state": self.state,
                **{name: f"{figure:.9f}" for name, figure in asdict(self.spent).items()},
            }
        )


async def _no_time(_seconds: float) -> None:
    """For those who know that all clocks agree."""


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
        cls,
        store: ObjectStore,
        run_id: str,
        holder: str,
        now: float,
        gone: Callable[[str], bool] = lambda _: False,
        sleep: Callable[[float], Awaitable[None]] = _no_time,
    ) -> Holding:
        """Hold the run as ``holder``; ``RunBusy`` where another driver is alive.

        ``now`` is in seconds since the Unix epoch. ``gone`` may know of a holder that it is dead for sure; another that
        seems to be, by the time at which it was last heard of, is watched for a while, for which ``sleep`` is called.
        """
        key = _key(run_id)
        try:
            info = await store.info(key)
        except NotFound:
            record = _Record(secrets.token_hex(8), 1, holder, now, "held", Spent())
            writing = store.put_if_absent(key, record.encoded())
            return cls(store, run_id, record, await _claimed(store, run_id, record, writing))
        found = _decoded(key, await store.get(key))
        if found.state == "held" and not gone(found.holder):
            if 0 <= now - found.heard < PATIENCE:
                raise RunBusy(run_id, found.holder, now - found.heard)
            await sleep(LOOK)  # if it lives, and one of our clocks is wrong, it renews the record meanwhile
        record = _Record(secrets.token_hex(8), found.epoch + 1, holder, now, "held", found.spent.at_most)
        writing = store.replace_if(key, record.encoded(), info.etag)
        return cls(store, run_id, record, await _claimed(store, run_id, record, writing))

    async def renew(self, now: float, spent: Spent) -> Spent:
        """Say that this driver lives, and return what is written down then; ``RunBusy`` where another has the run."""
        return await self._write(replace(self._record, heard=now, state="held", spent=spent), now)

    async def prove(self, now: float) -> None:
        """Return if this driver has the run now; ``RunBusy`` where another has taken it."""
        key = _key(self._run_id)
        if _decoded(key, await self._store.get(key)).nonce != self._record.nonce:
            raise await _busy(self._store, self._run_id, now)

    async def release(self, now: float, spent: Spent) -> None:
        """Let go of the run, so that another may take it at once."""
        await self._write(replace(self._record, heard=now, state="free", spent=spent), now)

    async def _write(self, record: _Record, now: float) -> Spent:
        key = _key(self._run_id)
        while True:
            try:
                self._etag = await self._store.replace_if(key, record.encoded(), self._etag)
                break
            except Conflict as error:
                etag = (await self._store.info(key)).etag
                found = _decoded(key, await self._store.get(key))
                if found.nonce != self._record.nonce:
                    raise await _busy(self._store, self._run_id, now) from error
            # A write of ours got through, whose answer did not or came late: nobody else writes under our nonce.
            self._etag = etag
            if found.encoded() == record.encoded():
                break
            if record.state == "held":
                record = replace(record, spent=max(record.spent, found.spent, key=_at_most))
        self._record = record
        return record.spent


Standing = Literal["running", "parked"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What others see of who holds a run: ``state`` is ``held`` or ``free``, ``heard`` in seconds since 1970."""

    epoch: int
    holder: str
    heard: float
    state: str


async def seen(store: ObjectStore, run_id: str) -> Seen | None:
    """Who holds the run, or held it last; nothing where nobody ever has."""
    try:
        found = _decoded(_key(run_id), await store.get(_key(run_id)))
    except NotFound:
        return None
    return Seen(found.epoch, found.holder, found.heard, found.state)


async def state_of(
    store: ObjectStore, run_id: str, now: float, gone: Callable[[str], bool] = lambda _: False
) -> Standing:
    """Whether a driver has the run, or nobody any more; ``gone`` may know of a holder that it is dead for sure."""
    found = await seen(store, run_id)
    if found is None:
        return "parked"
    held = found.state == "held" and now - found.heard < PATIENCE and not gone(found.holder)
    return "running" if held else "parked"


async def _claimed(store: ObjectStore, run_id: str, record: _Record, writing: Awaitable[str]) -> str:
    """The ETag of the record once it is written; ``RunBusy`` where another driver was faster."""
    key = _key(run_id)
    try:
        return await writing
    except Conflict as error:
        etag = (await store.info(key)).etag
        if _decoded(key, await store.get(key)).nonce == record.nonce:  # our own write, whose answer was lost
            return etag
        raise await _busy(store, run_id, record.heard) from error


async def _busy(store: ObjectStore, run_id: str, now: float) -> RunBusy:
    found = _decoded(_key(run_id), await store.get(_key(run_id)))
    return RunBusy(run_id, found.holder, max(0.0, now - found.heard))


def _at_most(spent: Spent) -> float:
    return spent.at_most.worker_seconds


def _key(run_id: str) -> str:
    return f"runs/{run_id}/holder.json"


def _decoded(key: str, data: bytes) -> _Record:
    found = Fields.parsed(key, data)
    found.only("nonce", "epoch", "holder", "heard", "state", *_FIGURES)
    try:
        spent = Spent(*[float(found.text(name)) for name in _FIGURES])
        heard = float(found.text("heard"))
    except ValueError as error:
        raise found.wrong(f"heard or {' or '.join(_FIGURES)}", "is not a number") from error
    nonce, holder, state = found.text("nonce"), found.text("holder"), found.text("state")
    return _Record(nonce, found.whole("epoch"), holder, heard, state, spent)
