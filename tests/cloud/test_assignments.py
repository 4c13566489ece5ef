import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cirrus.cloud.assignments import assignment_from_json, assignment_to_json
from cirrus.cloud.base import Assignment
from cirrus.core.ids import WorkerId
from cirrus.errors import WireError

WORKER = WorkerId("train", 3, 2)
PLAIN = Assignment("clicks-1", 1, WORKER, "train", ("http://127.0.0.1:4711",), "files:/x", "secret", 600, 900.0)

counts = st.integers(0, 2**63 - 1)
assignments = st.builds(
    Assignment,
    run_id=st.text(),
    epoch=counts,
    worker=st.builds(WorkerId, pool=st.text(), slot=counts, attempt=counts),
    role=st.sampled_from(("prepare", "train", "evaluate")),
    shards=st.lists(st.text(), max_size=4).map(tuple),
    store=st.text(),
    token=st.text(),
    memory=counts,
    timeout=st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False),
    ca=st.text(),
)


@given(assignments)
def test_what_is_written_is_one_line_and_is_read_back(assignment: Assignment) -> None:
    line = assignment_to_json(assignment)
    assert len(line.splitlines()) == 1
    assert assignment_from_json(line) == assignment


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("run_id", 7),
        ("epoch", "1"),
        ("epoch", True),
        ("epoch", -1),
        ("worker", ["train", 3]),
        ("worker", ["train", 3, 2.5]),
        ("role", "admin"),
        ("shards", "http://127.0.0.1:4711"),
        ("shards", [1]),
        ("store", None),
        ("token", None),
        ("memory", 0.5),
        ("timeout", "900"),
        ("timeout", 0),
        ("timeout", math.nan),
        ("timeout", math.inf),
        ("ca", None),
        ("stranger", 1),
    ],
)
def test_a_field_of_the_wrong_kind_is_refused_without_showing_the_token(field: str, value: object) -> None:
    line = json.dumps({**json.loads(assignment_to_json(PLAIN)), field: value})
    with pytest.raises(WireError) as caught:
        assignment_from_json(line)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Assignment)])
def test_every_field_is_needed(field: str) -> None:
    found = json.loads(assignment_to_json(PLAIN))
    del found[field]
    with pytest.raises(WireError):
        assignment_from_json(json.dumps(found))


@pytest.mark.parametrize("line", ["", "{", "[]", "null", "[" * 60_000, "x" * 70_000])
def test_what_is_no_assignment_is_refused(line: str) -> None:
    with pytest.raises(WireError):
        assignment_from_json(line)


def test_an_assignment_does_not_show_its_token() -> None:
    assert "secret" not in repr(PLAIN)
