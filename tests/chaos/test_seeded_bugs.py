"""The simulation finds what it is there for: each of these mistakes, made on purpose, is seen to break a promise.

How many it took is recorded as the property ``seeds`` of each test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from cirrus.actors import snapshots
from cirrus.actors.shard import Shard
from cirrus.core import leases, slots
from cirrus.core.ids import WorkerId
from cirrus.core.leases import Leases
from cirrus.core.ledger import Ledger, Opened, Verdict
from cirrus.core.pool import Pool
from cirrus.errors import Conflict
from cirrus.store.checkpoints import Snapshot
from cirrus.store.fields import JSON
from cirrus.store.journal import Entry, Journal
from cirrus.testing.simulation import simulate

Patch = pytest.MonkeyPatch


def applies_duplicates(patch: Patch) -> None:
    """A ledger that applies a step again."""
    true = Ledger.judge

    def judge(ledger: Ledger, unit: int, attempt: int, step: int) -> Verdict:
        verdict = true(ledger, unit, attempt, step)
        return Verdict.APPLY if verdict is Verdict.DUPLICATE else verdict

    patch.setattr(Ledger, "judge", judge)


def forgets_the_fence(patch: Patch) -> None:
    """A ledger that lets any attempt write."""

    def judge(ledger: Ledger, unit: int, attempt: int, step: int) -> Verdict:
        last = ledger.last(unit)
        if step <= last:
            return Verdict.DUPLICATE
        ledger._units[unit][1] = step
        return Verdict.APPLY

    patch.setattr(Ledger, "judge", judge)


def lets_older_ones_in(patch: Patch) -> None:
    """A ledger that opens a unit for an attempt that is older than the one that has it."""
    true = Ledger.open

    def opened(ledger: Ledger, unit: int, attempt: int) -> Any:
        found = true(ledger, unit, attempt)
        if isinstance(found, Opened):
            return found
        ledger._units[unit][0] = attempt
        return Opened(ledger.last(unit))

    patch.setattr(Ledger, "open", opened)


def takes_a_conflict_for_success(patch: Patch) -> None:
    """A journal that believes an entry to be written where another one is."""

    async def written(journal: Journal, key: str, document: bytes) -> bool:
        try:
            await journal._store.put_if_absent(key, document)
        except Conflict:
            return True
        return True

    patch.setattr(Journal, "_written", written)


def leaves_gaps(patch: Patch) -> None:
    """A journal that gives up the place of an entry whose writing failed."""
    true = Journal._written

    async def written(journal: Journal, key: str, document: bytes) -> bool:
        journal._next += 1
        return await true(journal, key, document)

    patch.setattr(Journal, "_written", written)


def forgets_the_last_entry(patch: Patch) -> None:
    """A journal that is read without the decision before the last."""
    true = Journal.take_over

    async def take_over(journal: Journal) -> tuple[Entry, ...]:
        entries = await true(journal)
        return (*entries[:-2], *entries[-1:])

    patch.setattr(Journal, "take_over", take_over)


def saves_an_older_ledger(patch: Patch) -> None:
    """A snapshot whose ledger is a step older than its weights."""
    true = Ledger.dump

    def dump(ledger: Ledger) -> list[int]:
        flat = true(ledger)
        return [max(one - 1, -1) if at and at % 3 == 0 else one for at, one in enumerate(flat)]

    patch.setattr(Ledger, "dump", dump)


def begins_with_zeros(patch: Patch) -> None:
    """A shard that comes back with nothing of its snapshot."""
    patch.setattr(snapshots, "fill", lambda *_: None)


def begins_with_the_first(patch: Patch) -> None:
    """A shard that comes back with its weights and without its ledgers."""
    true = snapshots.fill

    def fill(shard: Shard, snapshot: Snapshot, name: str) -> None:
        header: Mapping[str, JSON] = {**snapshot.header, "ledgers": {}}
        true(shard, replace(snapshot, header=header), name)

    patch.setattr(snapshots, "fill", fill)


def never_replaces(patch: Patch) -> None:
    """A pool that leaves the slot of a dead worker vacant."""
    true = Pool._rest

    def rest(pool: Pool, worker: WorkerId, fenced: int, pause: float | slots.GiveUp) -> None:
        true(pool, worker, fenced, pause if isinstance(pause, slots.GiveUp) else 1e9)

    patch.setattr(Pool, "_rest", rest)


def replaces_who_is_only_lost(patch: Patch) -> None:
    """A pool that asks for another worker, without a fence, where only a connection is gone."""
    true = Pool._left

    def left(pool: Pool, worker: WorkerId, kind: slots.Leave, detail: str) -> None:
        state = pool._current(worker)
        if kind == "lost" and isinstance(state, slots.Running):
            pool._rest(worker, worker.attempt, 0.0)
        else:
            true(pool, worker, kind, detail)

    patch.setattr(Pool, "_left", left)


def exceeds_the_wish(patch: Patch) -> None:
    """A pool that counts one worker too few."""
    true = Pool._scaled
    patch.setattr(Pool, "_scaled", lambda pool, workers: true(pool, workers + 1))


def leases_under_the_same_number(patch: Patch) -> None:
    """A lease that is granted again under its old number: without a fence."""
    true = Leases._grant

    def grant(machine: Leases, at: float, worker: WorkerId, unit: int) -> leases.Granted:
        machine._lease = unit
        return true(machine, at, worker, unit)

    patch.setattr(Leases, "_grant", grant)


def keeps_what_the_dead_held(patch: Patch) -> None:
    """Leases of a worker that is gone, which nobody gets any more."""
    patch.setattr(Leases, "_free_again", lambda *_: None)


def never_reopens(patch: Patch) -> None:
    """Units that were lost with a shard and are not done again."""
    patch.setattr(Leases, "_reopen", lambda *_: None)


def broken_in(seed: int) -> str:
    """The promise that is broken in this simulation; a mistake may also leave a machine that cannot go on at all."""
    try:
        return simulate(seed).broken
    except KeyError as error:
        return f"it fails: {error!r}"


@pytest.mark.parametrize(
    ("mistake", "promises", "within"),
    [
        (applies_duplicates, ("I3",), 20),
        (forgets_the_fence, ("I5",), 300),
        (lets_older_ones_in, ("I5",), 300),
        (takes_a_conflict_for_success, ("I1",), 100),
        (leaves_gaps, ("I5",), 100),
        (forgets_the_last_entry, ("I1",), 50),
        (saves_an_older_ledger, ("I3", "I4", "I8"), 20),
        (begins_with_zeros, ("I4",), 20),
        (begins_with_the_first, ("I3", "I4"), 20),
        (never_replaces, ("I8",), 20),
        (replaces_who_is_only_lost, ("I7",), 20),
        (exceeds_the_wish, ("I7", "I1"), 20),
        (leases_under_the_same_number, ("I5", "I2"), 20),
        (keeps_what_the_dead_held, ("I8", "it fails"), 20),
        (never_reopens, ("I8",), 400),
    ],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_a_mistake_is_found_within_some_seeds(
    mistake: Callable[[Patch], None],
    promises: tuple[str, ...],
    within: int,
    monkeypatch: Patch,
    request: pytest.FixtureRequest,
) -> None:
    mistake(monkeypatch)
    found = map(broken_in, range(within))
    seeds, broken = next(((k + 1, promise) for k, promise in enumerate(found) if promise), (within, ""))
    request.node.user_properties += [("seeds", seeds), ("broken", broken)]
    assert broken.startswith(promises), f"after {seeds} seeds: {broken or 'nothing is found'}"
