"""Compiled code reads and writes the frames of frames.py, byte for byte, and takes for broken what that does."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from cirrus.errors import WireError
from cirrus.learn.base import TableSpec
from cirrus.learn.rows import Floats
from cirrus.learn.tables import Table
from cirrus.native.choice import kernels
from cirrus.optimizers import SGD
from cirrus.wire import frames
from cirrus.wire.frames import Answer, Status, Step
from cirrus.wire.framing import Framing
from tests.wire.test_frames import STEPS, matrix, numbers, steps

pytestmark = pytest.mark.skipif(kernels() is None, reason="nothing was compiled here")


def plain(step: Step) -> tuple[object, ...]:
    """All that a step says, whatever it keeps its numbers in."""
    gradients = None if step.gradients is None else [np.asarray(one).tolist() for one in step.gradients]
    keys = None if step.keys is None else [np.asarray(one).tolist() for one in step.keys]
    shapes = None if step.gradients is None else [one.shape for one in step.gradients]
    return step.step, step.tables, gradients, shapes, keys


def read(message: bytes, framing: Framing | None) -> tuple[list[tuple[object, ...]], bool]:
    """The steps of a message up to the first broken frame, and whether there was one."""
    found: list[tuple[object, ...]] = []
    each = frames.requests(message) if framing is None else framing.requests(message)
    try:
        found.extend(plain(request) if isinstance(request, Step) else tuple(request) for request in each)
    except WireError:
        return found, True
    return found, False


@given(st.lists(steps(), min_size=1, max_size=4))
def test_steps_are_written_and_read_alike(wanted: list[Step]) -> None:
    widths = [tuple([one.shape[1] for one in step.gradients or ()]) or (1,) * len(step.tables) for step in wanted]
    written = [Framing().step(step, width) for step, width in zip(wanted, widths, strict=True)]
    assert written == [frames.encode_step(step) for step in wanted]
    found, broken = read(b"".join(written), Framing())
    assert not broken
    assert found == [plain(step) for step in wanted]


@given(steps(), st.data())
def test_a_changed_frame_is_read_alike_or_broken_alike(step: Step, data: st.DataObject) -> None:
    """Also with a checksum that fits again, so that the checks behind it are tried."""
    message = bytearray(frames.encode_step(step) * data.draw(st.integers(1, 2)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(len(message), 48) - 1))
        message[at] = data.draw(st.sampled_from([0, 1, 2, 3, 4, 255]) | st.integers(0, 255))
    message = message[: len(message) - data.draw(st.sampled_from([0, 0, 0, 1, 8]))]
    length = int.from_bytes(message[4:8], "little")
    if 16 <= length <= len(message) and data.draw(st.booleans()):
        message[:4] = zlib.crc32(message[4:length]).to_bytes(4, "little")
    assert read(bytes(message), Framing()) == read(bytes(message), None)


@given(st.integers(0, 9), st.integers(1, 3), STEPS, st.integers(0, 2**63 - 1))
@example(3, 1, 0, 2**63 - 1)
def test_answers_are_written_and_read_alike(rows: int, width: int, step: int, clock: int) -> None:
    table = Table(TableSpec("t", 30, width, SGD(1.0)), 0, 1)
    table.push(np.arange(30), -np.arange(30 * width, dtype=np.float32).reshape(30, width))
    keys = np.arange(rows, dtype=np.uint32) * 3
    wanted = frames.encode_answer(Answer(Status.DUPLICATE, step, clock, (table.read(keys),)), (7,))
    assert table.part is not None
    answer, span = table.part.answer(keys, 7, Status.DUPLICATE, step, clock)
    assert answer == wanted
    assert_array_equal(np.asarray(span), table.read(keys))
    for (found,) in (Framing().replies(wanted), frames.replies(wanted)):
        assert isinstance(found, Answer)
        assert (found.status, found.step, found.clock) == (Status.DUPLICATE, step, clock)
        assert found.rows is not None
        assert_array_equal(found.rows[0], table.read(keys))


@given(st.integers(0, 60), st.integers(0, 255), st.integers(0, 2))
def test_a_changed_answer_is_read_alike_or_broken_alike(at: int, byte: int, seal: int) -> None:
    message = bytearray(frames.encode_answer(Answer(Status.APPLIED, 3, 4, (matrix(5, 1),)), (1,)))
    message[at % len(message)] = byte
    if seal:
        message[:4] = zlib.crc32(message[4:]).to_bytes(4, "little")

    def told(replies: object) -> object:
        try:
            (one,) = replies()  # type: ignore[operator]
        except WireError:
            return None
        return one[:3], [np.asarray(rows).tolist() for rows in one.rows or ()]

    whole = bytes(message)
    assert told(lambda: Framing().replies(whole)) == told(lambda: frames.replies(whole))


def test_spans_are_what_numpy_sees_in_the_message() -> None:
    message = frames.encode_step(Step(1, (7,), (matrix(4, 2),), (numbers(5),)))
    (step,) = Framing().requests(message)
    assert isinstance(step, Step)
    assert step.gradients is not None
    assert step.keys is not None
    gradient, keys = step.gradients[0], step.keys[0]
    assert (len(gradient), gradient.shape, gradient.nbytes) == (4, (4, 2), 32)
    assert (len(keys), keys.shape, keys.nbytes) == (5, (5,), 20)
    seen: Floats = np.asarray(gradient)
    assert seen.dtype == np.float32
    assert np.asarray(keys).dtype == np.uint32
    assert not seen.flags.writeable
    del step, gradient, message
    assert_array_equal(seen, matrix(4, 2))
    with pytest.raises(TypeError):
        type(keys)()  # type: ignore[call-arg]
