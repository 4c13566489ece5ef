"""A shard without sockets: each step counts once, and a bad frame does nothing."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cirrus.actors import shard as engine
from cirrus.actors.shard import LINE, Connection, Shard
from cirrus.errors import Conflict, WireError
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats, Keys
from cirrus.optimizers import SGD
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Opened, Read, Status, Step

pytestmark = pytest.mark.usefixtures("loops")

WEIGHTS = TableSpec("weights", rows=100, width=1, optimizer=SGD(rate=1.0))
FACTORS = TableSpec("factors", rows=10, width=3, optimizer=SGD(rate=1.0))


def shard(number: int = 0, shards: int = 1) -> Shard:
    made = Shard(number, shards)
    made.create(WEIGHTS)
    made.create(FACTORS)
    return made


def keys(*numbers: int) -> Keys:
    return np.array(numbers, np.uint32)


def ones(rows: int, width: int = 1, value: float = -1.0) -> Floats:
    return np.full((rows, width), value, np.float32)


def all_weights(of: Shard) -> Floats:
    return of.tables[0].read(np.arange(100))


def ask(of: Shard, connection: Connection, *wanted: bytes) -> list[Answer]:
    found = list(frames.replies(of.handle(connection, b"".join(wanted))))
    assert all(isinstance(one, Answer) for one in found)
    return found  # type: ignore[return-value]


def opened(of: Shard, unit: int = 0, attempt: int = 0) -> Connection:
    connection = Connection()
    (reply,) = frames.replies(of.handle(connection, frames.encode_open(unit, attempt)))
    assert isinstance(reply, Opened)
    return connection


def pull(*numbers: int) -> bytes:
    return frames.encode_step(Step(0, (0,), None, (keys(*numbers),)))


def push(step: int, rows: int, value: float = -1.0) -> bytes:
    return frames.encode_step(Step(step, (0,), (ones(rows, value=value),), None))


def test_opening_says_what_is_counted_and_refuses_older_attempts() -> None:
    one, connection = shard(), Connection()

    def opening(unit: int, attempt: int) -> Opened:
        (reply,) = frames.replies(one.handle(connection, frames.encode_open(unit, attempt)))
        assert isinstance(reply, Opened)
        return reply

    assert opening(5, 2) == (Status.APPLIED, 5, -1, 2)
    one.handle(connection, pull(1) + push(0, 1))
    assert opening(5, 3) == (Status.APPLIED, 5, 0, 3)
    assert opening(5, 2) == (Status.STALE, 5, -1, 3)
    assert one.counters.stale == 1
    with pytest.raises(WireError, match="opened"):
        one.handle(connection, pull(1))


def test_a_fused_step_pushes_before_it_pulls() -> None:
    one = shard()
    connection = opened(one)
    (first,) = ask(one, connection, pull(3, 7))
    assert first.status is Status.NONE
    fused = frames.encode_step(Step(0, (0,), (ones(2),), (keys(3, 4),)))
    (second,) = ask(one, connection, fused)
    assert (second.status, second.step, second.clock) == (Status.APPLIED, 0, 1)
    assert second.rows is not None
    assert_array_equal(second.rows[0], [[1.0], [0.0]])


def test_a_step_of_several_tables_counts_once() -> None:
    one = shard()
    connection = opened(one)
    ask(one, connection, frames.encode_step(Step(0, (0, 1), None, (keys(1, 2), keys()))))
    both = Step(0, (0, 1), (ones(2), ones(0, 3)), (keys(), keys(9)))
    (answer,) = ask(one, connection, frames.encode_step(both))
    assert answer.status is Status.APPLIED
    assert one.counters.applied == 1
    assert [table.clock for table in one.tables] == [1, 1]
    assert all_weights(one).sum() == 2.0


def test_duplicates_change_nothing_but_are_served() -> None:
    one = shard()
    connection = opened(one)
    ask(one, connection, pull(1), push(0, 1))
    again = frames.encode_step(Step(0, (0,), (ones(1),), (keys(1),)))
    answers = ask(one, opened(one), pull(1), again)
    assert answers[1].status is Status.DUPLICATE
    assert answers[1].rows is not None
    assert answers[1].rows[0] == 1.0
    assert one.clock == 1
    assert one.counters.duplicates == 1


def test_stale_attempts_change_nothing_and_get_nothing() -> None:
    one = shard()
    old = opened(one, unit=4, attempt=1)
    ask(one, old, pull(1))
    opened(one, unit=4, attempt=2)
    (answer,) = ask(one, old, frames.encode_step(Step(0, (0,), (ones(1),), (keys(1),))))
    assert (answer.status, answer.rows) == (Status.STALE, None)
    assert one.clock == 0
    assert not all_weights(one).any()


def test_a_missing_step_breaks_the_protocol() -> None:
    one = shard()
    connection = opened(one)
    ask(one, connection, pull(1))
    with pytest.raises(WireError, match="missing"):
        one.handle(connection, push(1, 1))
    assert one.clock == 0


def test_lines_have_ledgers_of_their_own() -> None:
    one = shard()
    for line in (0, 1, 2**31):
        assert ask(one, opened(one, line * LINE + 7), pull(1), push(0, 1))[1].status is Status.APPLIED
    one.close_below(LINE + 8)
    assert ask(one, opened(one, LINE + 7), pull(1), push(5, 1))[1].status is Status.DUPLICATE
    assert ask(one, opened(one, 7), pull(1), push(0, 1))[1].status is Status.DUPLICATE
    assert ask(one, opened(one, 7), pull(1), push(1, 1))[1].status is Status.APPLIED


def test_reading_writes_nothing() -> None:
    one = shard()
    (answer,) = ask(one, Connection(), frames.encode_read(Read((1, 0), (keys(0, 9), keys(5)))))
    assert answer.rows is not None
    assert [rows.shape for rows in answer.rows] == [(2, 3), (1, 1)]
    assert one.clock == 0


def test_a_shard_has_only_its_rows() -> None:
    last = shard(2, 3)  # of 100 rows these: 2, 5, ... 98
    ask(last, Connection(), frames.encode_read(Read((0,), (keys(32),))))
    with pytest.raises(WireError, match="beyond"):
        last.handle(Connection(), frames.encode_read(Read((0,), (keys(33),))))


def test_staleness_is_the_steps_between_pull_and_push() -> None:
    one = shard()
    slow, fast = opened(one, 0), opened(one, 1)
    ask(one, slow, pull(1))
    for step in range(5):
        ask(one, fast, pull(2), push(step, 1))
    ask(one, slow, push(0, 1))
    assert one.counters.staleness == 5


BAD = {
    "a push without a pull": push(0, 1),
    "too few gradients": pull(1, 2) + push(0, 1),
    "too many gradients": pull(1) + push(0, 2),
    "gradients of another width": pull(1) + frames.encode_step(Step(0, (0,), (ones(1, 2),), None)),
    "gradients of another table": pull(1) + frames.encode_step(Step(0, (1,), (ones(1, 3),), None)),
    "an unknown table": frames.encode_step(Step(0, (2,), None, (keys(1),))),
    "rows out of order": pull(2, 1),
    "a row twice": pull(1, 1),
    "a row beyond the table": pull(99, 100),
    "a row far beyond the table": pull(2**32 - 1),
    "not a number": pull(1) + push(0, 1, np.nan),
    "infinity": pull(1) + push(0, 1, np.inf),
    "minus infinity": pull(1, 2) + push(0, 2, -np.inf),
    "a huge gradient": pull(1) + push(0, 1, 1.1e6),
    "an overflowing gradient": pull(1) + push(0, 1, 3e38),
    "a good pull behind a bad push": pull(1) + frames.encode_step(Step(0, (0,), (ones(1, 1, np.nan),), (keys(1),))),
    "a bad pull behind a good push": pull(1) + frames.encode_step(Step(0, (0,), (ones(1),), (keys(100),))),
    "a bad table beside a good one": frames.encode_step(Step(0, (0, 1), None, (keys(1), keys(10)))),
    "too many open pulls": pull(1) * 64 + b"",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_frames_do_nothing(name: str) -> None:
    one = shard()
    connection = opened(one)
    if name == "too many open pulls":
        one.handle(connection, pull(2))
    before = (one.clock, one.ledgers[0].dump())
    with pytest.raises(WireError):
        one.handle(connection, BAD[name])
    assert (one.clock, one.ledgers[0].dump()) == before
    assert not all_weights(one).any()
    assert one.counters.applied == 0


def test_a_large_but_honest_gradient_is_applied() -> None:
    one = shard()
    assert ask(one, opened(one), pull(1, 2, 3), push(0, 3, 1e6))[1].status is Status.APPLIED


def test_answers_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = TableSpec("wide", rows=10, width=60_000, optimizer=SGD())
    one = shard()
    one.create(wide)
    reading = frames.encode_read(Read((2,), (keys(*range(10)),)))
    one.handle(Connection(), reading * 6)
    with pytest.raises(WireError, match="fit"):
        one.handle(Connection(), reading * 7)


def test_what_open_pulls_hold_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_HELD", 8 * 150)
    one = shard()
    connection = opened(one)
    ask(one, connection, pull(*range(100)), pull(*range(100)))
    with pytest.raises(WireError, match="too many rows"):
        one.handle(connection, pull(*range(100)))
    ask(one, connection, push(0, 100), pull(*range(100)))
    opened(one)
    one.handle(connection, frames.encode_open(0, 0))
    ask(one, connection, pull(*range(100)))


def test_tables_are_made_once() -> None:
    one = shard()
    assert one.create(FACTORS) == 1
    assert len(one.tables) == 2
    with pytest.raises(Conflict):
        one.create(dataclasses.replace(FACTORS, rows=11))
    with pytest.raises(Conflict, match="more shards"):
        one.create(TableSpec("vast", 2**32, 1000, SGD()))


@settings(deadline=None)
@given(st.data())
def test_every_mutation_of_a_session_leaves_a_whole_shard(data: st.DataObject) -> None:
    """Whatever bytes come: the weights are the sum of the steps that were applied, and the clock is their number."""
    one = shard()
    connection = opened(one)
    good = [pull(1, 5), push(0, 2), frames.encode_open(0, 0), pull(7), pull(8), push(1, 1), push(2, 1), pull(2)]
    good.append(frames.encode_read(Read((0, 1), (keys(3), keys()))))
    for _ in range(data.draw(st.integers(1, 12))):
        message = bytearray(b"".join(data.draw(st.lists(st.sampled_from(good), min_size=1, max_size=4))))
        if data.draw(st.booleans()):
            bit = data.draw(st.integers(0, 8 * len(message) - 1))
            message[bit // 8] ^= 1 << bit % 8
            message = message[: data.draw(st.integers(0, len(message)))]
        try:
            one.handle(connection, bytes(message))
        except WireError:
            connection = opened(one)
    assert one.tables[0].clock == one.counters.applied == one.ledgers[0].last(0) + 1
    assert one.counters.applied <= all_weights(one).sum() <= 2 * one.counters.applied


def test_a_dropped_table_leaves_its_number_and_its_ghosts_behind() -> None:
    one = shard()
    ghost = opened(one, unit=LINE)
    ask(one, ghost, pull(1, 2))
    clock = one.clock
    ask(one, ghost, push(0, 2))
    one.drop(["weights", "nothing"], 1)
    one.drop(["weights"], 1)
    assert one.clock == clock + 1
    assert 1 not in one.ledgers
    assert one.create(WEIGHTS) == 2
    for late in (pull(1, 2), frames.encode_read(Read((0,), (keys(1),)))):
        with pytest.raises(WireError):
            one.handle(ghost, late)
    assert [table.spec for table in one.kept] == [FACTORS, WEIGHTS]
    assert not one.tables[2].weights().any()


def test_a_ghost_that_owes_a_gradient_when_its_table_goes_changes_nothing() -> None:
    one = shard()
    ghost = opened(one, unit=LINE)
    ask(one, ghost, pull(1, 2))
    one.drop(["weights"], 1)
    one.create(WEIGHTS)
    (late,) = ask(one, ghost, push(0, 2))
    assert late.status is Status.STALE
    assert not one.tables[2].weights().any()
