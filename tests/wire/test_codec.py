"""The codec: what goes in comes out, and nothing but a ``WireError`` comes of anything else."""

from __future__ import annotations

import json
import math
import struct
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NewType

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus import sources, steps, until
from cirrus.core.ids import WorkerId
from cirrus.errors import WireError
from cirrus.events import Event, LossReported, WorkerReplaced
from cirrus.models import LogisticRegression, ModelSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov
from cirrus.pipeline import Budget, Pipeline, Prepare, Stage, Train
from cirrus.wire.codec import Codec

Key = NewType("Key", str)


@dataclass(frozen=True, slots=True)
class Hello:
    worker: WorkerId
    role: Literal["prepare", "train"]
    key: Key = Key("k")
    token: bytes = b""


@dataclass(frozen=True, slots=True)
class Beat:
    memory: int
    loss: float = 0.0
    sure: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    places: tuple[WorkerId, ...]
    pair: tuple[int, str]
    figures: dict[str, float] = field(default_factory=dict)
    inner: Hello | Beat | None = None
    level: float | str | None = None


@dataclass(frozen=True, slots=True)
class Tree:
    branches: tuple[Tree, ...] = ()


Message = Hello | Beat | Report
MESSAGES: Codec[Message] = Codec(Message)
TREES: Codec[Tree] = Codec(Tree)
STAGES: Codec[Stage] = Codec(Stage)
PIPELINES: Codec[Pipeline] = Codec(Pipeline)
EVENTS: Codec[Event] = Codec(Event)
WORKER = WorkerId("train", 3, 7)


@dataclass(frozen=True, slots=True)
class OwnModel(ModelSpec):
    """A user's model."""

    kernel: ClassVar[str] = "somewhere:Else"

    widths: tuple[int, ...] = (3, 5)
    names: Mapping[str, str] = field(default_factory=dict)


names = st.text(max_size=8)
numbers = st.floats(allow_nan=False)
hellos = st.builds(
    Hello, st.builds(WorkerId, names, st.integers(0, 2**63), st.integers(0, 9)), st.sampled_from(["prepare", "train"]),
    names.map(Key), st.binary(max_size=9),
)
beats = st.builds(Beat, st.integers(-(2**63), 2**64 - 1), numbers, st.booleans())
reports = st.builds(
    Report, st.lists(st.builds(WorkerId, names, st.integers(0, 9), st.integers(0, 9)), max_size=3).map(tuple),
    st.tuples(st.integers(0, 9), names), st.dictionaries(names, numbers, max_size=3), st.none() | hellos | beats,
    st.none() | names | numbers,
)
messages = hellos | beats | reports
conditions = st.recursive(
    st.builds(until.Epochs, st.integers(1, 9)) | st.builds(until.LossBelow, st.floats(0, 1))
    | st.builds(until.Samples, st.integers(1, 9)) | st.builds(until.Minutes, st.floats(0.5, 9)),
    lambda inner: st.builds(until.Either, inner, inner) | st.builds(until.Both, inner, inner),
    max_leaves=12,
)
optimizers = st.sampled_from([SGD(), Momentum(), Nesterov(), Adagrad(rate=0.5), Adam(), FTRL()])
trains = st.builds(Train, optimizer=optimizers, until=conditions, workers=st.integers(0, 9))
tests = st.sampled_from([
    0.25, steps.every(5, at=4), sources.criteo("b/"), sources.libsvm("c", features=9),
    sources.csv("a.csv", label="y", columns={"a": "number", "b": "category"}, names=("y", "a", "b"), positive="yes"),
])
chains = st.sampled_from([
    (), (steps.MinMax(), steps.Hash(20)), (steps.Bucket(("I1", "I2")), steps.Standard(), steps.Hash(9, signed=True)),
])
prepares = st.builds(Prepare, steps=chains, test=tests, seed=st.integers(0, 2**63 - 1))


@given(messages)
def test_messages_come_out_as_they_went_in(message: Message) -> None:
    again = MESSAGES.decode(MESSAGES.encode(message))
    assert again == message
    assert type(again) is type(message)


@given(trains | prepares)
def test_stages_come_out_of_both_forms_as_they_went_in(stage: Stage) -> None:
    assert STAGES.decode(STAGES.encode(stage)) == stage
    assert STAGES.from_json(STAGES.to_json(stage)) == stage


def test_a_whole_pipeline_comes_out_as_it_went_in() -> None:
    pipeline = Pipeline(
        name="clicks", data=sources.criteo("day.tsv.gz"), budget=Budget(dollars=5.0),
        stages=(Prepare(steps=(steps.MinMax(), steps.Hash(20))), Train(until=until.epochs(3) | until.loss_below(0.4))),
    )
    assert PIPELINES.from_json(PIPELINES.to_json(pipeline)) == pipeline


def test_events_have_a_json_form_even_where_numbers_are_not_finite() -> None:
    event = LossReported(
        at=1, stage="train", loss=math.inf, auc=-math.inf, accuracy=0.5, train_loss=math.nan, samples=2, seconds=3
    )
    text = EVENTS.to_json(event)
    assert json.loads(text)["loss"] == "inf"
    for again in (EVENTS.from_json(text), EVENTS.decode(EVENTS.encode(event))):
        assert isinstance(again, LossReported)
        assert (again.loss, again.auc, math.isnan(again.train_loss)) == (math.inf, -math.inf, True)
        assert type(again.at) is float


def test_a_model_of_a_users_own_travels_by_its_module_and_name() -> None:
    train = Train(model=OwnModel(widths=(1,), names={"a": "b"}))
    text = STAGES.to_json(train)
    assert json.loads(text)["model"]["type"] == f"{__name__}:OwnModel"
    assert STAGES.from_json(text) == train
    fresh: Codec[Stage] = Codec(Stage)
    assert fresh.from_json(text) == train, "also where it was never sent before"


@pytest.mark.parametrize("tag", [
    "os:system", "cirrus.models:ModelSpecs", "no.such.module:Model", "cirrus.pipeline:Train", "cirrus.models", "", 5,
    None, "cirrus.models:LogisticRegression.kernel", "../x:Model", "cirrus.models:" + "M" * 300, "builtins:eval",
    "x\0y:Z",
])  # fmt: skip
def test_only_models_can_be_named_as_models(tag: object) -> None:
    plain = STAGES.to_plain(Train())
    plain["model"]["type"] = tag
    with pytest.raises(WireError, match=r"^model\.type" if isinstance(tag, str) else "^model: .* with a 'type'"):
        STAGES.from_plain(plain)


def test_a_model_that_cannot_be_imported_is_refused_before_it_is_sent() -> None:
    @dataclass(frozen=True)
    class Local(ModelSpec):
        pass

    with pytest.raises(WireError, match="model"):
        STAGES.encode(Train(model=Local()))


HELLO = {"type": "Hello", "worker": {"pool": "p", "slot": 1, "attempt": 2}, "role": "train", "key": "k", "token": b""}


def test_the_example_of_the_refusals_is_accepted() -> None:
    assert MESSAGES.from_plain(HELLO) == Hello(WorkerId("p", 1, 2), "train")


@pytest.mark.parametrize(("change", "names_it"), [
    ({"type": "Goodbye"}, r"^type: expected one of Hello, Beat, Report, got str"),
    ({"type": None}, r"^message: expected a map with a 'type'"),
    ({"extra": 1}, r"too many: \['extra'\]"),
    ({"key": ...}, r"missing: \['key'\]"),
    ({"role": "evaluate"}, r"^role: expected one of 'prepare', 'train', got str"),
    ({"role": ["train"]}, r"^role"),
    ({"key": b"k"}, r"^key: expected a text, got bytes"),
    ({"token": "secret"}, r"^token: expected bytes, got str$"),
    ({"worker": {"pool": "p", "slot": True, "attempt": 2}}, r"^worker.slot: expected a whole number.*, got bool"),
    ({"worker": {"pool": "p", "slot": 2**64, "attempt": 2}}, r"^worker.slot"),
    ({"worker": {"pool": "p", "slot": 1.0, "attempt": 2}}, r"^worker.slot"),
    ({"worker": {"pool": "p", "slot": 1}}, r"^worker: .*missing: \['attempt'\]"),
    ({"worker": None}, r"^worker"),
    ({"worker": ["p", 1, 2]}, r"^worker"),
])  # fmt: skip
def test_what_is_not_of_its_type_is_refused_by_name(change: dict[str, object], names_it: str) -> None:
    plain = {name: value for name, value in (HELLO | change).items() if value is not ...}
    with pytest.raises(WireError, match=names_it):
        MESSAGES.from_plain(plain)


@pytest.mark.parametrize(("change", "names_it"), [
    ({"places": [1]}, r"^places\[0\]: "),
    ({"places": {}}, r"^places: expected a list"),
    ({"pair": [1]}, r"^pair: expected 2 items"),
    ({"pair": [1, "a", 2]}, r"^pair: expected 2 items"),
    ({"pair": ["a", 1]}, r"^pair\[0\]: "),
    ({"figures": {"a": "b"}}, r"^figures\['a'\]: expected a number"),
    ({"figures": {"a": True}}, r"^figures\['a'\]: expected a number"),
    ({"figures": {1: 1.0}}, r"^figures: expected texts as keys"),
    ({"figures": []}, r"^figures: expected a map"),
    ({"inner": {"type": "Beat", "memory": "x", "loss": 0.0, "sure": False}}, r"^inner.memory: "),
    ({"inner": 1}, r"^inner: expected one of"),
    ({"level": True}, r"^level: expected a number, got bool"),
    ({"level": {}}, r"^level: expected one of"),
])  # fmt: skip
def test_what_lies_deeper_is_refused_by_its_path(change: dict[str, object], names_it: str) -> None:
    plain = MESSAGES.to_plain(Report((), (1, "a"))) | change
    with pytest.raises(WireError, match=names_it):
        MESSAGES.from_plain(plain)


@pytest.mark.parametrize("message", [
    Beat("much"), Beat(1.5), Beat(2**64), Beat(1, loss="low"), Beat(True), Report([], (1, "a")),  # type: ignore[arg-type]
    Report((), (1, "a", 2)), Report((), (1, "a"), figures=3), Report((), (1, "a"), {1: 2.0}), "text",  # type: ignore[arg-type, dict-item]
    Hello(WORKER, "train", Key("\ud800")), Hello("w", "train"), Report((), (1, "a"), level=b""),  # type: ignore[arg-type]
])  # fmt: skip
def test_what_is_not_of_its_type_is_not_sent(message: Message) -> None:
    with pytest.raises(WireError):
        MESSAGES.encode(message)


def test_numbers_of_numpy_that_are_floats_become_plain_ones() -> None:
    again = MESSAGES.decode(MESSAGES.encode(Beat(1, loss=np.float64(0.5))))
    assert again == Beat(1, loss=0.5)
    with pytest.raises(WireError, match=r"^memory"):
        MESSAGES.encode(Beat(np.int64(3)))  # type: ignore[arg-type]


def test_a_specification_that_its_class_refuses_is_a_wire_error() -> None:
    plain = STAGES.to_plain(Train())
    plain["until"] = {"type": "Either", "first": {"type": "Epochs", "count": 0}, "second": plain["until"]}
    with pytest.raises(WireError, match=r"^until.first: expected a valid Epochs"):
        STAGES.from_plain(plain)


def test_nesting_is_limited_both_ways() -> None:
    tree, plain = Tree(), TREES.to_plain(Tree())
    for _ in range(63):
        tree, plain = Tree((tree,)), {"branches": [plain]}
    assert TREES.decode(TREES.encode(tree)) == tree
    assert TREES.from_plain(plain) == tree
    with pytest.raises(WireError, match="at most 64 values"):
        TREES.encode(Tree((tree,)))
    with pytest.raises(WireError, match="at most 64 values"):
        TREES.from_plain({"branches": [plain]})


@pytest.mark.parametrize("data", [
    b"", b"\xc1", MESSAGES.encode(Beat(1)) + b"\xc0", MESSAGES.encode(Beat(1))[:-1], b"\xa3\xff\xff\xff",
    msgpack.packb(msgpack.ExtType(5, b"x")), msgpack.packb(msgpack.Timestamp(1, 0)), b"\x91" * 5000,
    msgpack.packb({1: 2}), msgpack.packb({b"type": b"Beat"}),
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff",
])  # fmt: skip
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        MESSAGES.decode(data)


@pytest.mark.parametrize("text", [
    "", "{", "[" * 50_000, "NaN", "1" * 5000, "null", '{"type":"Train"} x',
    '{"a":' * 9_000,
])  # fmt: skip
def test_texts_that_are_no_specification_are_refused(text: str) -> None:
    with pytest.raises(WireError):
        STAGES.from_json(text)


def test_a_key_that_stands_twice_is_refused() -> None:
    text = MESSAGES.to_json(Beat(1))
    assert MESSAGES.from_json(text) == Beat(1)
    with pytest.raises(WireError, match="ValueError"):
        MESSAGES.from_json(text.replace('"memory":1', '"memory":1,"memory":2'))
    data = MESSAGES.encode(Beat(1))
    with pytest.raises(WireError, match="ValueError"):
        MESSAGES.decode(b"\x85" + data[1:] + msgpack.packb("memory") + msgpack.packb(2))


def test_bytes_have_no_json_form() -> None:
    with pytest.raises(WireError, match="no JSON form"):
        MESSAGES.to_json(Hello(WORKER, "train", token=b"x"))


def test_size_is_limited_both_ways_before_anything_is_parsed() -> None:
    small: Codec[Message] = Codec(Message, most=50)
    assert small.decode(small.encode(Beat(1))) == Beat(1)
    long = Hello(WORKER, "train", Key("k" * 50))
    with pytest.raises(WireError, match="at most 50"):
        small.encode(long)
    with pytest.raises(WireError, match="at most 50"):
        small.decode(MESSAGES.encode(long))
    with pytest.raises(WireError, match="at most 50"):
        small.from_json(" " * 51)
    with pytest.raises(WireError, match="at most 50"):
        small.to_json(Report((), (1, "k" * 50)))


@pytest.mark.parametrize("data", [
    b"\xdd" + struct.pack(">I", 5_000_000) + b"\x80" * 5_000_000, b"\x80" * 5_000_000, b"\xdc\x03\xff" * 21_000,
    b"\xdc\x4f\xff" * 21_000, b"\xde\x03\xff\xa0" * 16_000,
])  # fmt: skip
def test_hostile_bytes_cost_no_memory(data: bytes) -> None:
    for codec in (MESSAGES, Codec(Message, most=8_000_000)):
        tracemalloc.start()
        try:
            with pytest.raises(WireError):
                codec.decode(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 16_000_000


def test_only_wire_errors_come_of_ten_thousand_mutated_messages() -> None:
    generator = np.random.default_rng(11)
    seeds = [
        MESSAGES.encode(Hello(WORKER, "train")), MESSAGES.encode(Beat(5, 0.25)),
        MESSAGES.encode(Report((WORKER,), (1, "a"), {"x": 1.0}, Beat(1))),
    ]
    specs = [STAGES.encode(Train(until=until.epochs(2) | until.minutes(3))), STAGES.encode(Prepare())]
    refused = 0
    for turn in range(10_000):
        codec: Codec[Message] | Codec[Stage] = STAGES if turn % 4 == 0 else MESSAGES
        chosen = (specs if turn % 4 == 0 else seeds)[turn % (2 if turn % 4 == 0 else 3)]
        data = bytearray(chosen)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] = generator.integers(0, 256)
        cut = generator.integers(0, len(data)) if turn % 10 == 0 else len(data)
        try:
            codec.decode(bytes(data[:cut]))
        except WireError:
            refused += 1
    assert refused > 5_000


@dataclass(frozen=True)
class Odd:
    what: set[int]


@dataclass
class Mutable:
    what: int


@dataclass(frozen=True)
class WithTag:
    type: str


@dataclass(frozen=True)
class Derived:
    what: int = field(init=False, default=3)


def twin() -> type:
    @dataclass(frozen=True)
    class Beat:
        other: int

    return Beat


@pytest.mark.parametrize("kind", [
    Odd, Mutable, WithTag, Derived, object, complex, dict[int, str], list[int], tuple[int, ...] | tuple[str, ...],
    Beat | twin(), Beat | dict[str, int],
])  # fmt: skip
def test_a_type_that_cannot_be_told_from_others_or_checked_is_refused_at_once(kind: object) -> None:
    with pytest.raises(TypeError):
        Codec(kind)


def test_a_codec_of_one_class_needs_no_tag_and_one_of_a_base_class_has_one() -> None:
    one: Codec[WorkerId] = Codec(WorkerId)
    assert one.to_plain(WORKER) == {"pool": "train", "slot": 3, "attempt": 7}
    condition: Codec[until.Condition] = Codec(until.Condition)
    assert condition.to_plain(until.epochs(3)) == {"type": "Epochs", "count": 3}
    model: Codec[ModelSpec] = Codec(ModelSpec)
    assert model.decode(model.encode(LogisticRegression(l2=0.5))) == LogisticRegression(l2=0.5)
    event = WorkerReplaced(at=0.5, stage="s", slot=1, attempt=2, reason="r")
    assert EVENTS.decode(memoryview(EVENTS.encode(event))) == event
