"""Small named values: versions, conditions, limits, expiry."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cirrus.actors.values import ABSENT, MAX_VALUE, TooLarge, Value, Values
from cirrus.errors import Conflict, NotFound, StoreError


def test_versions_are_never_given_twice() -> None:
    values = Values()
    first = values.put("a", b"1", 0.0)
    values.delete("a", 0.0)
    second = values.put("a", b"1", 0.0)
    assert ABSENT < first < second
    assert Values(values.dump(), values.version).put("b", b"", 0.0) > second


def test_conditions() -> None:
    values = Values()
    version = values.put("a", b"1", 0.0, expected=ABSENT)
    with pytest.raises(Conflict):
        values.put("a", b"2", 0.0, expected=ABSENT)
    with pytest.raises(Conflict):
        values.put("a", b"2", 0.0, expected=version + 1)
    with pytest.raises(Conflict):
        values.delete("a", 0.0, expected=version + 1)
    assert values.get("a", 0.0) == Value("a", b"1", version)
    values.put("a", b"2", 0.0, expected=version)
    values.delete("a", 0.0, expected=values.get("a", 0.0).version)
    with pytest.raises(NotFound):
        values.get("a", 0.0)
    with pytest.raises(Conflict):
        values.put("a", b"3", 0.0, expected=version)


def test_what_has_expired_is_not_there() -> None:
    values = Values()
    values.put("a", b"1", 0.0, expires=10.0)
    assert values.get("a", 9.9).data == b"1"
    with pytest.raises(NotFound):
        values.get("a", 10.0)
    values.put("b", b"1", 0.0, expires=10.0)
    assert values.names("", 10.0) == ()
    values.put("b", b"2", 11.0, expected=ABSENT)


def test_listing_is_by_prefix_and_ordered() -> None:
    values = Values()
    for name in ("b.2", "a.1", "b.1", "bb"):
        values.put(name, b"", 0.0)
    assert [one.name for one in values.names("b.", 0.0)] == ["b.1", "b.2"]
    assert [one.name for one in values.names("", 0.0)] == ["a.1", "b.1", "b.2", "bb"]


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a" * 65, "a\n", "\0", "é"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(StoreError):
        Values().put(name, b"", 0.0)


def test_sizes_are_limited_and_nothing_is_lost_by_trying() -> None:
    values = Values(most=3 * 1256)
    values.put("a", b"old", 0.0)
    with pytest.raises(TooLarge):
        values.put("a", bytes(MAX_VALUE + 1), 0.0)
    assert values.get("a", 0.0).data == b"old"
    values.put("b", bytes(1000), 0.0, expires=5.0)
    values.put("c", bytes(1000), 0.0)
    with pytest.raises(TooLarge):
        values.put("a", bytes(1001), 1.0)
    assert values.get("a", 1.0).data == b"old"
    values.put("a", bytes(1001), 5.0)
    for number in range(100):
        values.delete("a", 6.0)
        values.put("a", bytes(1000), 6.0)
        values.put("c", bytes(number), 6.0)


class AgainstADictionary(RuleBasedStateMachine):
    """Without limits and expiry, values are a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.values = Values()
        self.model: dict[str, bytes] = {}

    names = st.sampled_from(["a", "b", "c"])

    @rule(name=names, data=st.binary(max_size=8))
    def put(self, name: str, data: bytes) -> None:
        self.values.put(name, data, 0.0)
        self.model[name] = data

    @rule(name=names, data=st.binary(max_size=8), expected=st.integers(0, 6))
    def put_if(self, name: str, data: bytes, expected: int) -> None:
        found = {one.name: one.version for one in self.values.dump()}.get(name, ABSENT)
        if found == expected:
            self.values.put(name, data, 0.0, expected=expected)
            self.model[name] = data
        else:
            with pytest.raises(Conflict):
                self.values.put(name, data, 0.0, expected=expected)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.values.delete(name, 0.0)
        self.model.pop(name, None)

    @rule()
    def restart(self) -> None:
        self.values = Values(self.values.dump(), self.values.version)

    @invariant()
    def same(self) -> None:
        assert {one.name: one.data for one in self.values.names("", 0.0)} == self.model


TestAgainstADictionary = AgainstADictionary.TestCase
