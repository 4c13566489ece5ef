"""Frames: what is written is read, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cirrus.errors import WireError
from cirrus.learn.rows import Floats, Keys
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Open, Opened, Read, Status, Step

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
STEPS = st.integers(0, frames.MAX_STEP)


def matrix(rows: int, width: int) -> Floats:
    return np.arange(rows * width, dtype=np.float32).reshape(rows, width) / np.float32(3)


def numbers(count: int) -> Keys:
    return np.arange(count, dtype=np.uint32) * 3


@st.composite
def steps(draw: st.DrawFn) -> Step:
    tables = tuple(draw(st.lists(st.integers(0, 65535), min_size=1, max_size=8, unique=True)))
    shapes = [(draw(st.integers(0, 9)), draw(st.integers(1, 5)), draw(st.integers(0, 9))) for _ in tables]
    push, pull = draw(st.sampled_from([(True, True), (True, False), (False, True)]))
    gradients = tuple(matrix(rows, width) for rows, width, _ in shapes) if push else None
    keys = tuple(numbers(count) for _, _, count in shapes) if pull else None
    return Step(draw(STEPS), tables, gradients, keys)


Arrays = tuple[Floats, ...] | tuple[Keys, ...] | None


def same(left: Arrays, right: Arrays) -> None:
    assert (left is None) == (right is None)
    for one, other in zip(left or (), right or (), strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert_array_equal(one, other)


@given(st.lists(steps(), min_size=1, max_size=4))
def test_steps_come_back_as_they_went(wanted: list[Step]) -> None:
    message = b"".join(frames.encode_step(one) for one in wanted)
    found = list(frames.requests(message))
    assert len(message) % 8 == 0
    for one, step in zip(wanted, found, strict=True):
        assert isinstance(step, Step)
        assert (one.step, one.tables) == (step.step, step.tables)
        same(one.gradients, step.gradients)
        same(one.keys, step.keys)


@given(U64, U32, st.integers(-1, frames.MAX_STEP), U32, st.sampled_from([Status.APPLIED, Status.STALE]))
def test_opening_comes_back_as_it_went(unit: int, attempt: int, last: int, current: int, status: Status) -> None:
    assert list(frames.requests(frames.encode_open(unit, attempt))) == [Open(unit, attempt)]
    opened = Opened(status, unit, last, current)
    assert list(frames.replies(frames.encode_opened(opened))) == [opened]


@given(st.sampled_from(Status), STEPS, U64, st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), max_size=8))
def test_answers_come_back_as_they_went(status: Status, step: int, clock: int, shapes: list[tuple[int, int]]) -> None:
    rows = tuple(matrix(*shape) for shape in shapes) or None
    message = frames.encode_answer(Answer(status, step, clock, rows), range(len(shapes)))
    (found,) = frames.replies(message)
    assert isinstance(found, Answer)
    assert found[:3] == (status, step, clock)
    same(found.rows, rows)


def test_reading_comes_back_as_it_went() -> None:
    (found,) = frames.requests(frames.encode_read(Read((7, 9), (numbers(3), numbers(0)))))
    assert isinstance(found, Read)
    assert found.tables == (7, 9)
    same(found.keys, (numbers(3), numbers(0)))


def test_arrays_are_read_without_copies() -> None:
    message = frames.encode_step(Step(1, (0,), (matrix(4, 2),), (numbers(5),)))
    (found,) = frames.requests(message)
    assert isinstance(found, Step)
    assert found.gradients is not None
    assert found.keys is not None
    for array in (found.gradients[0], found.keys[0]):
        assert not array.flags.owndata
        assert not array.flags.writeable
        assert array.ctypes.data % 4 == 0


def test_other_layouts_are_converted() -> None:
    gradient = np.asfortranarray(matrix(4, 2).astype(np.float64))
    (found,) = frames.requests(frames.encode_step(Step(1, (0,), (gradient,), None)))  # type: ignore[arg-type]
    assert isinstance(found, Step)
    same(found.gradients, (matrix(4, 2),))


GOOD = frames.encode_step(Step(3, (0, 1), (matrix(3, 1), matrix(2, 4)), (numbers(5), numbers(2))))
REPLY = frames.encode_answer(Answer(Status.APPLIED, 3, 9, (matrix(3, 1), matrix(2, 4))), (0, 1))


@pytest.mark.parametrize("message", [GOOD, frames.encode_open(5, 1)])
def test_every_flipped_bit_of_a_request_is_found(message: bytes) -> None:
    for bit in range(8 * len(message)):
        broken = bytearray(message)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            list(frames.requests(bytes(broken)))


def test_every_flipped_bit_of_a_reply_is_found() -> None:
    for bit in range(8 * len(REPLY)):
        broken = bytearray(REPLY)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            list(frames.replies(bytes(broken)))


def test_every_truncation_is_found() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(WireError):
            list(frames.requests(GOOD[:end]))
        with pytest.raises(WireError):
            list(frames.requests(GOOD + GOOD[:end] if end else b""))
    for end in range(len(REPLY)):
        with pytest.raises(WireError):
            list(frames.replies(REPLY[:end]))


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_garbage_is_a_wire_error(message: bytes) -> None:
    with pytest.raises(WireError):
        list(frames.requests(message))
    with pytest.raises(WireError):
        list(frames.replies(message))


def forge(kind: int, body: bytes) -> bytes:
    """A frame whose prefix and checksum are right, whatever its body says."""
    body += b"\0" * (-(12 + len(body)) % 8)
    head = frames._PREFIX.pack(0, 12 + len(body), frames.MAGIC, frames.VERSION, kind)[4:] + body
    return frames._sealed([head])


@settings(max_examples=300)
@given(st.integers(0, 255), st.binary(max_size=120))
def test_garbage_under_a_right_checksum_is_read_or_refused(kind: int, body: bytes) -> None:
    for decode in (frames.requests, frames.replies):
        try:
            for one in decode(forge(kind, body)):
                assert isinstance(one, Open | Step | Read | Opened | Answer)
        except WireError:
            pass


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\0\0\0\0\0\0\0\1\0\0\0\0" + b"\0" * 12, id="neither pushes nor pulls"),
        pytest.param(b"\0\0\0\0\2\0\0\0\0\0\0\0", id="no sections"),
        pytest.param(b"\0\0\0\0\2\0\xff\xff\0\0\0\0", id="65535 sections"),
        pytest.param(b"\0\0\0\0\2\0\1\0\0\0\0\0" + b"\0\0\0\0\0\0\0\0\xff\xff\xff\xff", id="four billion keys"),
        pytest.param(
            b"\0\0\0\0\1\0\1\0\0\0\0\0" + b"\0\0\xff\xff\xff\xff\xff\xff\0\0\0\0", id="a petabyte of gradients"
        ),
        pytest.param(b"\0\0\0\0\1\0\1\0\0\0\0\0" + b"\0\0\0\0\0\0\0\0\0\0\0\0", id="gradients without a width"),
        pytest.param(b"\0\0\0\0\2\0\1\0\0\0\0\0" + b"\0\0\1\0\1\0\0\0\0\0\0\0" + b"\0" * 8, id="unannounced gradients"),
        pytest.param(b"\0\0\0\0\1\0\1\0\0\0\0\0" + b"\0\0\1\0\0\0\0\0\1\0\0\0" + b"\0" * 8, id="unannounced keys"),
        pytest.param(b"\0\0\0\0\2\0\2\0\0\0\0\0" + b"\0" * 24, id="a table twice"),
        pytest.param(b"\0\0\0\x80\2\0\1\0\0\0\0\0" + b"\0" * 12, id="step too large"),
        pytest.param(b"\0\0\0\0\2\0\1\0\1\0\0\0" + b"\0" * 12, id="reserved field"),
        pytest.param(b"\0\0\0\0\2\0\1\0\0\0\0\0" + b"\0" * 12 + b"\0" * 16, id="longer than its counts"),
    ],
)
def test_impossible_steps_are_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        list(frames.requests(forge(frames.STEP, body)))


def test_reading_cannot_push() -> None:
    body = GOOD[12:]
    with pytest.raises(WireError, match="more than read"):
        list(frames.requests(forge(frames.READ, body)))


def test_requests_are_no_replies() -> None:
    with pytest.raises(WireError, match="kind"):
        list(frames.replies(GOOD))
    with pytest.raises(WireError, match="kind"):
        list(frames.requests(REPLY))


def test_frames_before_a_bad_one_are_handed_out() -> None:
    several = frames.requests(GOOD + b"\0" * 64)
    assert isinstance(next(several), Step)
    with pytest.raises(WireError):
        next(several)


def test_messages_are_limited() -> None:
    one = frames.encode_open(1, 1)
    assert len(list(frames.requests(one * frames.MAX_FRAMES))) == frames.MAX_FRAMES
    with pytest.raises(WireError, match="frames in a message"):
        list(frames.requests(one * (frames.MAX_FRAMES + 1)))
    with pytest.raises(WireError, match="bytes"):
        list(frames.requests(bytes(frames.MAX_MESSAGE + 8)))
